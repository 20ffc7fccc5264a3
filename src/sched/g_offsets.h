// SPDX-License-Identifier: MIT
// Where the assembly finds fields of struct g, go_launch and go_site; g.h asserts that they are there.
#pragma once

#define G_STACK_ARGS 0
#define G_SITE 16
#define LAUNCH_SITE 8
#define SITE_INTEGER_REGS 24
#define SITE_X87_RESULTS 26
