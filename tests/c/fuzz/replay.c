/* SPDX-License-Identifier: Apache-2.0
 *
 * Gives each file that is named on the command line to a harness, where there is no libFuzzer.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    static uint8_t data[1 << 16];
    int i;

    for (i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");

        if (!file)
            return EXIT_FAILURE;
        LLVMFuzzerTestOneInput(data, fread(data, 1, sizeof data, file));
        fclose(file);
    }
    return EXIT_SUCCESS;
}
