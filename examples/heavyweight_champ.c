// SPDX-License-Identifier: MIT
// The program of "Digging into Goroutines I", line by line; docs/launching.md follows it through the library.
#include <goroutine.h>

static void heavyWeightChamp(const char *message)
{
    go_logf("heavyWeightChamp: Received message '%s'", message);
}

int main(void)
{
    go(heavyWeightChamp, "some message");
    go_sleep(2 * GO_SECOND);
}
