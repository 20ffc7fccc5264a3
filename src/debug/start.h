// SPDX-License-Identifier: MIT
// What GODEBUG asks the debugging parts to do from the start.
#pragma once

void leak_check_at_exit(void);
