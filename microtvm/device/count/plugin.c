/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts what a bare-metal image executes between entry and exit of chosen functions.
 *
 * Arguments: out=PATH         each completed activation appends a line, written at once
 *            fn=ADDRESS:LABEL entry address in hexadecimal; LABEL has no white space. Several for one
 *                             address take turns, from the first when nothing else is active
 *            probe=PATH       only show that the plugin loads: write a line and refuse
 * A line: LABEL INSTRUCTIONS LOADS STORES
 *
 * Counters. Each instruction and each memory access adds to a cell in the code that QEMU
 * generates, so a block that is left halfway (an access to a device, a fault) counts what it
 * executed and no more. A further counter is one more name in `enum counter` and the amount that
 * an opcode adds to it in `instrument`.
 *
 * Activations. A call pushes a frame with its return address; an indirect branch that arrives at
 * the return address of a frame pops it. The first instruction of a tracked function attaches an
 * activation to the frame on top, once: reached by a call, the frame is that call's; reached by a
 * tail call, it is the caller's, and the activation ends when the caller's frame does; reached by
 * a loop inside the function, the activation is there already. The counts run from before the
 * first instruction to after the last, so neither the call nor what follows the return is in them.
 *
 * Interrupts need no special case. A handler's calls and returns are balanced, its own return is
 * an indirect branch to an address that no frame waits for, and the instruction before a return
 * address is an indirect branch whether an interrupt came in between or not. What a handler
 * executes counts for the functions that it interrupted.
 *
 * A return pops its own frame and leaves those above: they belong to another thread of an RTOS,
 * or to calls that never return. One CPU is assumed.
 */
#define _POSIX_C_SOURCE 200809L
#include "decode.h"
#include "qemu_api.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum counter { INSTRUCTIONS, LOADS, STORES, COUNTERS };
enum { MAX_FRAMES = 1024, MAX_ACTIVATIONS = 1024, MAX_LABEL = 200 };

/* An instruction is counted right after its callbacks: `now` never includes the current one. */
struct counts {
    uint64_t of[COUNTERS];
};

/* Those with one entry stand in a row, and the first speaks for all. */
struct function {
    uint64_t entry;
    const char *label;
    size_t position; /* among the arguments */
    size_t turn;     /* of the first: which label the next activation has */
};

struct frame {
    uint64_t return_address;
    uint64_t serial;
};

struct activation {
    const struct function *function;
    const char *label;
    uint64_t frame;
    struct counts start;
};

struct state {
    count_decoder *decode;
    bool copies_insn_data;
    struct qemu_plugin_scoreboard *score;
    struct counts cells; /* version 1 has no scoreboard */
    int out;

    struct function *functions; /* ascending by entry */
    size_t function_count;

    struct frame frames[MAX_FRAMES];
    size_t depth;
    uint64_t serials;
    struct activation activations[MAX_ACTIVATIONS];
    size_t active;

    enum count_flow arriving_by; /* how the last instruction executed leads to the next */
};

static struct state plugin;

MTVM_EXPORT int qemu_plugin_version = 1;

/* QEMU loads only the generations that it speaks; it reads the number after the constructors. */
__attribute__((constructor)) static void choose_version(void)
{
    qemu_plugin_version = qemu_plugin_scoreboard_new != NULL ? 2 : 1;
}

static const struct counts *now(unsigned int cpu)
{
    return plugin.score != NULL ? qemu_plugin_scoreboard_find(plugin.score, cpu)
                                 : &plugin.cells;
}

static void write_line(const char *line, size_t length)
{
    while (length > 0) {
        const ssize_t written = write(plugin.out, line, length);
        if (written < 0 && errno != EINTR) {
            fprintf(stderr, "microtvm count: can't write counts: %s\n", strerror(errno));
            exit(EXIT_FAILURE); /* a lost line would pass for a function that never ran */
        }
        if (written > 0) {
            line += written;
            length -= (size_t)written;
        }
    }
}

static void report(const struct activation *done, const struct counts *end)
{
    char line[MAX_LABEL + COUNTERS * 21 + 2];
    int length = snprintf(line, sizeof line, "%s", done->label);

    for (int i = 0; i < COUNTERS; i++) {
        length += snprintf(line + length, sizeof line - (size_t)length, " %" PRIu64,
                           end->of[i] - done->start.of[i]);
    }
    line[length++] = '\n';
    write_line(line, (size_t)length);
}

/* Innermost first, so that a caller's line follows its callees'. */
static void complete_activations(uint64_t frame, const struct counts *end)
{
    for (size_t i = plugin.active; i-- > 0;) {
        struct activation *candidate = &plugin.activations[i];
        if (candidate->frame == frame) {
            report(candidate, end);
            plugin.active--;
            memmove(candidate, candidate + 1, (plugin.active - i) * sizeof *candidate);
        }
    }
}

static bool frame_is_active(uint64_t serial)
{
    for (size_t i = 0; i < plugin.active; i++) {
        if (plugin.activations[i].frame == serial) {
            return true;
        }
    }
    return false;
}

/* Forgets calls that never returned: those of the older half that no activation waits for. */
static void drop_stale_frames(void)
{
    size_t kept = 0;

    for (size_t i = 0; i < plugin.depth; i++) {
        if (i >= MAX_FRAMES / 2 || frame_is_active(plugin.frames[i].serial)) {
            plugin.frames[kept++] = plugin.frames[i];
        }
    }
    if (kept == MAX_FRAMES) {
        fprintf(stderr, "microtvm count: calls nest deeper than %d\n", MAX_FRAMES);
        exit(EXIT_FAILURE);
    }
    plugin.depth = kept;
}

static void pop_frame(size_t index, const struct counts *end)
{
    const uint64_t serial = plugin.frames[index].serial;

    plugin.depth--;
    memmove(&plugin.frames[index], &plugin.frames[index + 1],
            (plugin.depth - index) * sizeof plugin.frames[0]);
    complete_activations(serial, end);
}

static void on_call(unsigned int cpu, void *return_address)
{
    (void)cpu;
    if (plugin.depth == MAX_FRAMES) {
        drop_stale_frames();
    }
    plugin.frames[plugin.depth].return_address = (uintptr_t)return_address;
    plugin.frames[plugin.depth].serial = ++plugin.serials;
    plugin.depth++;
    plugin.arriving_by = COUNT_FLOW_CALL;
}

static void on_indirect(unsigned int cpu, void *unused)
{
    (void)cpu;
    (void)unused;
    plugin.arriving_by = COUNT_FLOW_INDIRECT;
}

static void on_block(unsigned int cpu, void *address)
{
    const enum count_flow flow = plugin.arriving_by;

    plugin.arriving_by = COUNT_FLOW_OTHER;
    if (flow == COUNT_FLOW_INDIRECT) {
        for (size_t i = plugin.depth; i-- > 0;) {
            if (plugin.frames[i].return_address == (uintptr_t)address) {
                pop_frame(i, now(cpu));
                break;
            }
        }
    } else if (flow == COUNT_FLOW_CALL
               && plugin.frames[plugin.depth - 1].return_address == (uintptr_t)address) {
        pop_frame(plugin.depth - 1, now(cpu)); /* a conditional call that was not taken */
    }
}

static const char *next_label(struct function *function)
{
    const struct function *end = plugin.functions + plugin.function_count;
    const struct function *label = function + function->turn;

    if (label == end || label->entry != function->entry) {
        function->turn = 0;
        label = function;
    }
    function->turn++;
    return label->label;
}

static void on_entry(unsigned int cpu, void *data)
{
    struct function *function = data;
    uint64_t frame;

    if (plugin.depth == 0) {
        return; /* nowhere to return to */
    }
    frame = plugin.frames[plugin.depth - 1].serial;
    for (size_t i = plugin.active; i-- > 0;) {
        if (plugin.activations[i].frame == frame && plugin.activations[i].function == function) {
            return;
        }
    }
    if (plugin.active == MAX_ACTIVATIONS) {
        fprintf(stderr, "microtvm count: more than %d functions are active\n", MAX_ACTIVATIONS);
        exit(EXIT_FAILURE);
    }
    for (size_t i = 0; plugin.active == 0 && i < plugin.function_count; i++) {
        plugin.functions[i].turn = 0;
    }
    plugin.activations[plugin.active].function = function;
    plugin.activations[plugin.active].label = next_label(function);
    plugin.activations[plugin.active].frame = frame;
    plugin.activations[plugin.active].start = *now(cpu);
    plugin.active++;
}

static qemu_plugin_u64 cell_of(enum counter index)
{
    const qemu_plugin_u64 cell = {plugin.score, index * sizeof(uint64_t)};
    return cell;
}

static void add_by_execution(struct qemu_plugin_insn *insn, enum counter index, unsigned amount)
{
    if (plugin.score != NULL) {
        qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, QEMU_PLUGIN_INLINE_ADD_U64,
                                                            cell_of(index), amount);
    } else {
        qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64,
                                                   &plugin.cells.of[index], amount);
    }
}

/*
 * Both directions in one registration, told apart by the opcode: the inline counters of QEMU 7.2
 * take loads for stores and the other way round.
 */
static void add_by_access(struct qemu_plugin_insn *insn, enum counter index)
{
    if (plugin.score != NULL) {
        qemu_plugin_register_vcpu_mem_inline_per_vcpu(
            insn, QEMU_PLUGIN_MEM_RW, QEMU_PLUGIN_INLINE_ADD_U64, cell_of(index), 1);
    } else {
        qemu_plugin_register_vcpu_mem_inline(insn, QEMU_PLUGIN_MEM_RW, QEMU_PLUGIN_INLINE_ADD_U64,
                                             &plugin.cells.of[index], 1);
    }
}

static struct count_insn decode(const struct qemu_plugin_insn *insn, size_t size)
{
    const union qemu_insn_data data = {qemu_plugin_insn_data};
    uint8_t bytes[4] = {0, 0, 0, 0};

    if (plugin.copies_insn_data) {
        data.copy(insn, bytes, sizeof bytes);
    } else {
        memcpy(bytes, data.pointer(insn), size < sizeof bytes ? size : sizeof bytes);
    }
    return plugin.decode(bytes, size);
}

static struct function *function_at(uint64_t address)
{
    size_t low = 0;
    size_t high = plugin.function_count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (plugin.functions[middle].entry < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < plugin.function_count && plugin.functions[low].entry == address
               ? &plugin.functions[low]
               : NULL;
}

/* The order matters: returns end activations before an entry starts one, counters come last. */
static void instrument(struct qemu_plugin_insn *insn, bool starts_block)
{
    const uint64_t address = qemu_plugin_insn_vaddr(insn);
    const size_t size = qemu_plugin_insn_size(insn);
    const struct count_insn decoded = decode(insn, size);
    struct function *function = function_at(address);

    if (starts_block) {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_block, QEMU_PLUGIN_CB_NO_REGS,
                                               (void *)(uintptr_t)address);
    }
    if (function != NULL) {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_entry, QEMU_PLUGIN_CB_NO_REGS,
                                               function);
    }
    if (decoded.flow == COUNT_FLOW_CALL) {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_call, QEMU_PLUGIN_CB_NO_REGS,
                                               (void *)(uintptr_t)(address + size));
    } else if (decoded.flow == COUNT_FLOW_INDIRECT) {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_indirect, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
    add_by_execution(insn, INSTRUCTIONS, 1);
    if (decoded.atomic_loads + decoded.atomic_stores == 0) {
        add_by_access(insn, decoded.is_load ? LOADS : STORES);
        return;
    }
    if (decoded.atomic_loads != 0) {
        add_by_execution(insn, LOADS, decoded.atomic_loads);
    }
    if (decoded.atomic_stores != 0) {
        add_by_execution(insn, STORES, decoded.atomic_stores);
    }
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    const size_t count = qemu_plugin_tb_n_insns(block);

    (void)id;
    for (size_t i = 0; i < count; i++) {
        instrument(qemu_plugin_tb_get_insn(block, i), i == 0);
    }
}

static int refuse(const char *what, const char *which)
{
    fprintf(stderr, "microtvm count: %s: %s\n", what, which);
    return -1;
}

static int open_output(const char *path)
{
    plugin.out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666);
    return plugin.out < 0 ? refuse(strerror(errno), path) : 0;
}

static int add_function(char *text)
{
    char *label = NULL;
    const uint64_t entry = strtoull(text, &label, 16);

    if (label == text || *label != ':' || label[1] == '\0' || strlen(label + 1) > MAX_LABEL) {
        return refuse("not ADDRESS:LABEL", text);
    }
    plugin.functions[plugin.function_count].entry = entry;
    plugin.functions[plugin.function_count].label = label + 1;
    plugin.functions[plugin.function_count].position = plugin.function_count;
    plugin.function_count++;
    return 0;
}

static int by_entry(const void *left, const void *right)
{
    const struct function *a = left;
    const struct function *b = right;

    if (a->entry != b->entry) {
        return a->entry < b->entry ? -1 : 1;
    }
    return a->position < b->position ? -1 : 1;
}

static int read_arguments(int argc, char **argv)
{
    plugin.functions = calloc((size_t)argc + 1, sizeof *plugin.functions);
    if (plugin.functions == NULL) {
        return refuse("out of memory", "functions");
    }
    plugin.out = -1;
    for (int i = 0; i < argc; i++) {
        int status;
        if (strncmp(argv[i], "out=", 4) == 0) {
            status = open_output(argv[i] + 4);
        } else if (strncmp(argv[i], "fn=", 3) == 0) {
            status = add_function(argv[i] + 3);
        } else if (strncmp(argv[i], "probe=", 6) == 0) {
            if (open_output(argv[i] + 6) == 0) {
                write_line("loaded\n", 7);
            }
            status = -1;
        } else {
            status = refuse("unknown argument", argv[i]);
        }
        if (status != 0) {
            return status;
        }
    }
    if (plugin.out < 0) {
        return refuse("missing argument", "out=PATH");
    }
    qsort(plugin.functions, plugin.function_count, sizeof *plugin.functions, by_entry);
    return 0;
}

MTVM_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                    char **argv)
{
    if (strcmp(info->target_name, "arm") == 0) {
        plugin.decode = count_decode_thumb;
    } else if (strcmp(info->target_name, "riscv32") == 0) {
        plugin.decode = count_decode_rv32;
    } else {
        return refuse("no decoder for target", info->target_name);
    }
    if (read_arguments(argc, argv) != 0) {
        return -1;
    }
    plugin.copies_insn_data = info->version.cur >= 3;
    if (qemu_plugin_scoreboard_new != NULL) {
        plugin.score = qemu_plugin_scoreboard_new(sizeof(struct counts));
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
