/* Answers images on standard input with scores on standard output, through the model's own interface. */
#include <stdio.h>

#include "digits_int8.h"

static MTVM_ALIGN(DIGITS_INT8_ARENA_ALIGN) uint8_t arena[DIGITS_INT8_ARENA_BYTES];

int main(void)
{
    const struct digits_int8_io io = digits_int8_bind(arena);

    while (fread(io.image, 1, 64, stdin) == 64) {
        digits_int8_run(arena);
        if (fwrite(io.scores, 1, 10, stdout) != 10) {
            return 1;
        }
    }
    return 0;
}
