/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few functions of QEMU's TCG plugin interface that the counter needs.
 *
 * Declared here because distributions ship QEMU without a development package. QEMU's
 * "TCG plugins" manual names three generations that one binary has to live with:
 *
 *   version 1  (up to 8.2)   inline counters are plain 64-bit cells
 *   version 2  (9.0)         inline counters live in per-CPU scoreboards; version 1 is refused
 *   version 3  (9.1 onward)  qemu_plugin_insn_data copies instead of returning a pointer
 *
 * What exists in only one of them is a weak symbol: absent, its address is null.
 */
#ifndef MTVM_COUNT_QEMU_API_H
#define MTVM_COUNT_QEMU_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MTVM_EXPORT __attribute__((visibility("default")))
#define MTVM_WEAK __attribute__((weak))

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t {
    const char *target_name;
    struct {
        int min;
        int cur;
    } version;
    bool system_emulation;
    struct {
        int smp_vcpus;
        int max_vcpus;
    } system;
} qemu_info_t;

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;

typedef struct {
    struct qemu_plugin_scoreboard *score;
    size_t offset;
} qemu_plugin_u64;

enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS = 0 };
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 = 0 };
enum qemu_plugin_mem_rw {
    QEMU_PLUGIN_MEM_R = 1,
    QEMU_PLUGIN_MEM_W = 2,
    QEMU_PLUGIN_MEM_RW = 3
};

typedef void (*qemu_plugin_vcpu_udata_cb_t)(unsigned int cpu, void *data);
typedef void (*qemu_plugin_vcpu_tb_trans_cb_t)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);

/* Exported by the plugin, read by QEMU. */
extern MTVM_EXPORT int qemu_plugin_version;
MTVM_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc,
                                    char **argv);

/* Every version. */
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, qemu_plugin_vcpu_tb_trans_cb_t cb);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
                                            qemu_plugin_vcpu_udata_cb_t cb,
                                            enum qemu_plugin_cb_flags flags, void *data);

/* Every version, but a function of another type from version 3 on. */
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
union qemu_insn_data {
    const void *(*pointer)(const struct qemu_plugin_insn *insn);
    size_t (*copy)(const struct qemu_plugin_insn *insn, void *to, size_t bytes);
};

/* Version 1 only. */
MTVM_WEAK void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn,
                                                          enum qemu_plugin_op op, void *cell,
                                                          uint64_t amount);
MTVM_WEAK void qemu_plugin_register_vcpu_mem_inline(struct qemu_plugin_insn *insn,
                                                    enum qemu_plugin_mem_rw rw,
                                                    enum qemu_plugin_op op, void *cell,
                                                    uint64_t amount);

/* From version 2 on. */
MTVM_WEAK struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t bytes);
MTVM_WEAK void *qemu_plugin_scoreboard_find(struct qemu_plugin_scoreboard *score,
                                            unsigned int cpu);
MTVM_WEAK void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *insn,
                                                                   enum qemu_plugin_op op,
                                                                   qemu_plugin_u64 cell,
                                                                   uint64_t amount);
MTVM_WEAK void qemu_plugin_register_vcpu_mem_inline_per_vcpu(struct qemu_plugin_insn *insn,
                                                             enum qemu_plugin_mem_rw rw,
                                                             enum qemu_plugin_op op,
                                                             qemu_plugin_u64 cell,
                                                             uint64_t amount);

#endif
