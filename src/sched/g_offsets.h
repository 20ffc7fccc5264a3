// SPDX-License-Identifier: MIT
// Where the assembly finds fields of struct g; g.h asserts that they are there.
#pragma once

#define G_STACK_ARGS 0
