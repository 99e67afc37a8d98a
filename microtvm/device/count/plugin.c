/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts what a bare-metal image executes between entry and exit of chosen functions.
 *
 * Arguments: out=PATH         each completed activation appends a line, written at once
 *            fn=ADDRESS:LABEL entry address in hexadecimal; LABEL has no white space. Several for one
 *                             address take turns, from the first when nothing else is active
 *            time=NAME:CYCLES an entry of the core's table of timings; see timing.h
 *            probe=PATH       only show that the plugin loads: write a line and refuse
 * A line: LABEL INSTRUCTIONS LOADS STORES, and CYCLES if there is a table
 *
 * Counters. Each instruction and each memory access adds to a cell in the code that QEMU
 * generates, so a block that is left halfway (an access to a device, a fault) counts what it
 * executed and no more. A further counter is one more name in `enum count_counter` and the amount
 * that an opcode adds to it in `instrument`. activation.h tells how functions are followed, block.h
 * what cycles depend on at run time.
 */
#include "activation.h"
#include "block.h"
#include "decode.h"
#include "qemu_api.h"
#include "timing.h"

#include <stdlib.h>
#include <string.h>

struct state {
    count_decoder *decode;
    count_timer *time;
    struct count_table table;
    bool copies_insn_data;
    struct qemu_plugin_scoreboard *score;
    struct count_cells cells; /* version 1 has no scoreboard */
    bool has_output;
};

static struct state plugin;

MTVM_EXPORT int qemu_plugin_version = 1;

/* QEMU loads only the generations that it speaks; it reads the number after the constructors. */
__attribute__((constructor)) static void choose_version(void)
{
    qemu_plugin_version = qemu_plugin_scoreboard_new != NULL ? 2 : 1;
}

/* An instruction is counted right after its callbacks: `now` never includes the current one. */
static struct count_cells *now(unsigned int cpu)
{
    return plugin.score != NULL ? qemu_plugin_scoreboard_find(plugin.score, cpu)
                                 : &plugin.cells;
}

static void on_call(unsigned int cpu, void *return_address)
{
    (void)cpu;
    count_call((uintptr_t)return_address);
}

static void on_indirect(unsigned int cpu, void *unused)
{
    (void)cpu;
    (void)unused;
    count_indirect();
}

/* Cycles between two blocks first: a return's own are its function's. */
static void on_block(unsigned int cpu, void *data)
{
    const struct count_block *block = data;
    struct count_cells *cells = now(cpu);

    count_block_begin(&plugin.table, block, cells);
    count_arrive(block->start, cells);
}

static void on_entry(unsigned int cpu, void *function)
{
    count_enter(function, now(cpu));
}

static qemu_plugin_u64 cell_of(enum count_counter index)
{
    const qemu_plugin_u64 cell = {plugin.score, index * sizeof(uint64_t)};
    return cell;
}

static void add_by_execution(struct qemu_plugin_insn *insn, enum count_counter index,
                             uint64_t amount)
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
static void add_by_access(struct qemu_plugin_insn *insn, enum count_counter index, uint64_t amount)
{
    if (plugin.score != NULL) {
        qemu_plugin_register_vcpu_mem_inline_per_vcpu(insn, QEMU_PLUGIN_MEM_RW,
                                                      QEMU_PLUGIN_INLINE_ADD_U64, cell_of(index),
                                                      amount);
    } else {
        qemu_plugin_register_vcpu_mem_inline(insn, QEMU_PLUGIN_MEM_RW, QEMU_PLUGIN_INLINE_ADD_U64,
                                             &plugin.cells.of[index], amount);
    }
}

/* The order of what is registered matters: returns end activations before an entry starts one,
 * counters come last. */
static void follow(struct qemu_plugin_insn *insn, const struct count_insn *decoded)
{
    const uint64_t address = qemu_plugin_insn_vaddr(insn);
    const uint64_t next = address + decoded->size;
    struct count_function *function = count_function_at(address);

    if (function != NULL) {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_entry, QEMU_PLUGIN_CB_NO_REGS, function);
    }
    if (decoded->flow == COUNT_FLOW_CALL) {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_call, QEMU_PLUGIN_CB_NO_REGS,
                                               (void *)(uintptr_t)next);
    } else if (decoded->flow == COUNT_FLOW_INDIRECT) {
        qemu_plugin_register_vcpu_insn_exec_cb(insn, on_indirect, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
}

static void count(struct qemu_plugin_insn *insn, const struct count_insn *decoded)
{
    add_by_execution(insn, COUNT_INSTRUCTIONS, 1);
    if (decoded->atomic_loads + decoded->atomic_stores == 0) {
        add_by_access(insn, decoded->is_load ? COUNT_LOADS : COUNT_STORES, 1);
        return;
    }
    if (decoded->atomic_loads != 0) {
        add_by_execution(insn, COUNT_LOADS, decoded->atomic_loads);
    }
    if (decoded->atomic_stores != 0) {
        add_by_execution(insn, COUNT_STORES, decoded->atomic_stores);
    }
}

/* Cycles beyond the one that every instruction has; most add nothing. */
static void count_time(struct qemu_plugin_insn *insn, const struct count_timing *timing,
                       const struct count_timing *before)
{
    const struct count_cycles cycles = count_cycles(&plugin.table, timing);
    const uint64_t beyond = (uint64_t)cycles.executed - 1
                            - count_cycles_saved(&plugin.table, before, timing);

    if (timing->is_branch && (timing->is_conditional || timing->is_predicated)) {
        add_by_execution(insn, COUNT_BRANCHES, 1);
    }
    if (beyond != 0) {
        add_by_execution(insn, COUNT_CYCLES, beyond);
    }
    if (cycles.for_each_access != 0) {
        add_by_access(insn, COUNT_CYCLES, cycles.for_each_access);
    }
}

struct bytes {
    uint8_t of[4];
};

static struct bytes bytes_of(const struct qemu_plugin_insn *insn)
{
    const union qemu_insn_data data = {qemu_plugin_insn_data};
    const size_t size = qemu_plugin_insn_size(insn);
    struct bytes bytes = {{0, 0, 0, 0}};

    if (plugin.copies_insn_data) {
        data.copy(insn, bytes.of, sizeof bytes.of);
    } else {
        memcpy(bytes.of, data.pointer(insn), size < sizeof bytes.of ? size : sizeof bytes.of);
    }
    return bytes;
}

static struct count_timing timing_of(const struct qemu_plugin_insn *insn, unsigned *predicated)
{
    const struct bytes bytes = bytes_of(insn);
    struct count_timing timing = plugin.time(bytes.of);

    timing.is_predicated = *predicated > 0;
    if (timing.predicates != 0) {
        *predicated = timing.predicates;
    } else if (*predicated > 0) {
        --*predicated;
    }
    return timing;
}

/* What the block's own instructions say of it; QEMU makes no empty ones. */
static struct count_block summary(const struct qemu_plugin_tb *tb)
{
    const size_t size = qemu_plugin_tb_n_insns(tb);
    const struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, size - 1);
    unsigned predicated = 0;
    struct count_block block = {.start = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0))};

    block.end = qemu_plugin_insn_vaddr(last) + plugin.decode(bytes_of(last).of).size;
    for (size_t i = 0; i < size; i++) {
        const struct count_timing timing = timing_of(qemu_plugin_tb_get_insn(tb, i), &predicated);
        if (i == 0) {
            block.head = timing;
        }
        block.ends_loop = timing.kind == COUNT_TIME_LOOP_END;
        if (!block.ends_loop) {
            block.tail = timing;
        }
    }
    return block;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
    const size_t size = qemu_plugin_tb_n_insns(tb);
    const struct count_block block = summary(tb);
    struct count_timing before = {.kind = COUNT_TIME_OTHER};
    unsigned predicated = 0;

    (void)id;
    qemu_plugin_register_vcpu_insn_exec_cb(qemu_plugin_tb_get_insn(tb, 0), on_block,
                                           QEMU_PLUGIN_CB_NO_REGS,
                                           (void *)count_block_keep(&block));
    for (size_t i = 0; i < size; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        const struct bytes bytes = bytes_of(insn);
        const struct count_insn decoded = plugin.decode(bytes.of);
        const struct count_timing timing = timing_of(insn, &predicated);

        follow(insn, &decoded);
        count(insn, &decoded);
        if (plugin.table.given) {
            count_time(insn, &timing, &before);
        }
        before = timing;
    }
}

static int read_argument(char *argument)
{
    if (strncmp(argument, "out=", 4) == 0) {
        plugin.has_output = true;
        return count_open_output(argument + 4);
    }
    if (strncmp(argument, "fn=", 3) == 0) {
        return count_add_function(argument + 3);
    }
    if (strncmp(argument, "time=", 5) == 0) {
        return count_table_set(&plugin.table, argument + 5)
                   ? 0
                   : count_refuse("not NAME:CYCLES", argument + 5);
    }
    if (strncmp(argument, "probe=", 6) == 0) {
        if (count_open_output(argument + 6) == 0) {
            count_write("loaded\n", 7);
        }
        return -1;
    }
    return count_refuse("unknown argument", argument);
}

static int read_arguments(int argc, char **argv)
{
    count_table_clear(&plugin.table);
    for (int i = 0; i < argc; i++) {
        const int status = read_argument(argv[i]);
        if (status != 0) {
            return status;
        }
    }
    if (!plugin.has_output) {
        return count_refuse("missing argument", "out=PATH");
    }
    count_begin(plugin.table.given);
    return 0;
}

MTVM_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                    char **argv)
{
    if (strcmp(info->target_name, "arm") == 0) {
        plugin.decode = count_decode_thumb;
        plugin.time = count_timing_thumb;
    } else if (strcmp(info->target_name, "riscv32") == 0) {
        plugin.decode = count_decode_rv32;
        plugin.time = count_timing_rv32;
    } else {
        return count_refuse("no decoder for target", info->target_name);
    }
    if (read_arguments(argc, argv) != 0) {
        return -1;
    }
    plugin.copies_insn_data = info->version.cur >= 3;
    if (qemu_plugin_scoreboard_new != NULL) {
        plugin.score = qemu_plugin_scoreboard_new(sizeof(struct count_cells));
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
