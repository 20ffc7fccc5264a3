// SPDX-License-Identifier: MIT
// The page of go_debug_serve: one piece of text that needs nothing else.
#pragma once

extern const char debug_page[];
