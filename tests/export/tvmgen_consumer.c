/* The same through the interface that TVM gave to models compiled ahead of time. */
#include <stdio.h>

#include "tvmgen_digits_int8.h"

static unsigned char image[TVMGEN_DIGITS_INT8_IMAGE_SIZE];
static unsigned char scores[TVMGEN_DIGITS_INT8_SCORES_SIZE];

int main(void)
{
    struct tvmgen_digits_int8_inputs inputs = {image};
    struct tvmgen_digits_int8_outputs outputs = {scores};

    while (fread(image, 1, sizeof image, stdin) == sizeof image) {
        if (tvmgen_digits_int8_run(&inputs, &outputs) != 0) {
            return 1;
        }
        if (fwrite(scores, 1, sizeof scores, stdout) != sizeof scores) {
            return 1;
        }
    }
    return 0;
}
