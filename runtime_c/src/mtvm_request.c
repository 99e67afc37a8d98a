/* SPDX-License-Identifier: Apache-2.0
 *
 * Fields of requests and answers, and the requests that only look at the model's table.
 */
#include "mtvm_request.h"

#include <string.h>

void mtvm_answer_clear(struct mtvm_answer *answer)
{
    answer->filled = MTVM_HEADER_BYTES;
    answer->tail = answer->head;
    answer->tail_bytes = 0;
    answer->detail = 0;
}

/* Numbers are little-endian base 128: seven bits a byte, bit 7 set in all but the last. */
size_t mtvm_number(uint8_t *at, uint32_t value)
{
    size_t count = 0;

    while (value > 0x7Fu) {
        at[count++] = (uint8_t)(value | 0x80u);
        value >>= 7;
    }
    at[count++] = (uint8_t)value;
    return count;
}

void mtvm_put_number(struct mtvm_answer *answer, uint32_t value)
{
    answer->filled += mtvm_number(answer->head + answer->filled, value);
}

void mtvm_put_bytes(struct mtvm_answer *answer, const void *data, size_t size)
{
    memcpy(answer->head + answer->filled, data, size);
    answer->filled += size;
}

void mtvm_put_name(struct mtvm_answer *answer, const char *name)
{
    const char *end = name;

    /* Not strlen: the C library's is written for long strings, and takes 200 bytes of code on some cores. */
    while (*end != '\0')
        end++;
    answer->tail = (const uint8_t *)name;
    answer->tail_bytes = (size_t)(end - name);
}

uint32_t mtvm_take_number(struct mtvm_request *request)
{
    uint32_t value = 0;
    unsigned shift;

    for (shift = 0; shift < 7 * MTVM_NUMBER_BYTES && request->left != 0; shift += 7) {
        uint8_t byte = *request->at++;

        request->left--;
        if (shift == 28 && byte > 0x0Fu)
            break;
        value |= (uint32_t)(byte & 0x7Fu) << shift;
        if (byte < 0x80u)
            return value;
    }
    request->malformed = 1;
    return 0;
}

int mtvm_ends_here(const struct mtvm_request *request)
{
    return !request->malformed && request->left == 0;
}

int mtvm_describe_tensor(const struct mtvm_model *model, struct mtvm_request *request, struct mtvm_answer *answer)
{
    uint32_t index = mtvm_take_number(request);
    const struct mtvm_tensor *tensor;
    uint32_t zero_point;
    uint8_t i;

    if (!mtvm_ends_here(request))
        return MTVM_ERR_LENGTH;
    if (index >= model->n_tensors)
        return MTVM_ERR_INDEX;
    tensor = &model->tensors[index];
    mtvm_put_number(answer, tensor->dtype);
    mtvm_put_number(answer, tensor->rank);
    for (i = 0; i < tensor->rank; i++)
        mtvm_put_number(answer, tensor->shape[i]);
    mtvm_put_number(answer, tensor->size);
    mtvm_put_bytes(answer, &tensor->scale, sizeof tensor->scale);
    zero_point = (uint16_t)tensor->zero_point;
    mtvm_put_number(answer, zero_point);
    mtvm_put_number(answer, tensor->live_from);
    mtvm_put_number(answer, tensor->live_to);
    mtvm_put_name(answer, tensor->name);
    return MTVM_OK;
}

int mtvm_name_operator(const struct mtvm_model *model, struct mtvm_request *request, struct mtvm_answer *answer)
{
    uint32_t index = mtvm_take_number(request);

    if (!mtvm_ends_here(request))
        return MTVM_ERR_LENGTH;
    if (index >= model->n_ops)
        return MTVM_ERR_INDEX;
    mtvm_put_name(answer, model->ops[index].name);
    return MTVM_OK;
}

int mtvm_look_up(const struct mtvm_model *model, struct mtvm_request *request, struct mtvm_answer *answer)
{
    uint32_t outputs = mtvm_take_number(request);
    uint32_t position = mtvm_take_number(request);

    if (!mtvm_ends_here(request))
        return MTVM_ERR_LENGTH;
    if (outputs > 1 || position >= (outputs ? model->n_outputs : model->n_inputs))
        return MTVM_ERR_INDEX;
    mtvm_put_number(answer, outputs ? model->outputs[position] : model->inputs[position]);
    return MTVM_OK;
}
