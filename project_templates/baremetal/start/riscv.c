/* SPDX-License-Identifier: Apache-2.0
 *
 * Start-up of a 32-bit RISC-V core in machine mode: global and thread pointers, FPU, painted stack, .data,
 * .bss, traps. RISC-V Privileged Architecture 1.10, chapter 3.
 */
#include "platform.h"

/* A trap handler needs this much below the stack pointer, or it starts again at the stack's top. */
#define FAULT_STACK_BYTES 512

void mtvm_reset(void);
void mtvm_start(void);
void mtvm_trap(void);
void mtvm_fault(uint32_t sp, uint32_t ra);

#define READ_CSR(name, value) __asm__ volatile("csrr %0, " #name : "=r"(value))

__attribute__((naked, used, section(".vectors"))) void mtvm_reset(void)
{
    __asm__ volatile(
        ".option push\n"
        ".option norelax\n"
        "la gp, __global_pointer$\n"
        ".option pop\n"
        "la tp, mtvm_bss_start\n"
        /* The guard is read-only by the first PMP entry, if there is one: NAPOT, 256 bytes, locked. */
        "la t0, 1f\n"
        "csrw mtvec, t0\n"
        "la t0, mtvm_stack_start\n"
        "srli t0, t0, 2\n"
        "ori t0, t0, " TEXT(STACK_GUARD_BYTES) " / 8 - 1\n"
        "csrw pmpaddr0, t0\n"
        "li t0, 0x99\n"
        "csrw pmpcfg0, t0\n"
        ".align 2\n"
        "1: la t0, mtvm_trap\n"
        "csrw mtvec, t0\n"
#if defined(__riscv_flen)
        "li t0, 0x2000\n" /* mstatus.FS = initial */
        "csrs mstatus, t0\n"
        "csrw fcsr, zero\n"
#endif
        "la t0, mtvm_stack_start + " TEXT(STACK_GUARD_BYTES) "\n"
        "la t1, mtvm_stack_end\n"
        "mv sp, t1\n"
        "li t2, " TEXT(STACK_PAINT) "\n"
        "2: sw t2, 0(t0)\n"
        "addi t0, t0, 4\n"
        "bltu t0, t1, 2b\n"
        "call mtvm_start\n");
}

__attribute__((used)) void mtvm_start(void)
{
    const uint32_t *image = mtvm_data_image;

    for (uint32_t *word = mtvm_data_start; word < mtvm_data_end; word++) {
        *word = *image++;
    }
    for (uint32_t *word = mtvm_bss_start; word < mtvm_bss_end; word++) {
        *word = 0;
    }
    (void)main();
    board_reset();
}

/* The privileged architecture has no reset; starting again from the first instruction is the nearest. */
void board_reset(void)
{
    mtvm_reset();
    for (;;) {
    }
}

/* mtvec ignores its two lowest bits. */
__attribute__((naked, used, aligned(4))) void mtvm_trap(void)
{
    __asm__ volatile(
        "mv a0, sp\n"
        "mv a1, ra\n"
        "la t0, mtvm_stack_start + " TEXT(FAULT_STACK_BYTES) "\n"
        "bgeu sp, t0, 1f\n"
        "la sp, mtvm_stack_end\n"
        "1: andi sp, sp, -16\n"
        "call mtvm_fault\n");
}

__attribute__((used)) void mtvm_fault(uint32_t sp, uint32_t ra)
{
    const int whole = sp >= (uint32_t)(uintptr_t)mtvm_stack_start + STACK_GUARD_BYTES;
    uint32_t mepc;
    uint32_t mcause;
    uint32_t mtval;

    READ_CSR(mepc, mepc);
    READ_CSR(mcause, mcause);
    READ_CSR(mtval, mtval);
    const struct fault_register registers[] = {
        {"exception", mcause}, {"pc", mepc}, {"ra", ra}, {"sp", sp}, {"mtval", mtval},
    };

    fault_report(whole ? "fault" : "stack overflow", registers,
                 sizeof(registers) / sizeof(registers[0]));
    board_reset();
}
