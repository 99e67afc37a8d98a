/* SPDX-License-Identifier: Apache-2.0
 *
 * Start-up of an Arm M-profile core: vectors, FPU, painted stack, .data, .bss, faults.
 * Armv7-M Architecture Reference Manual B1.5 and B3.2; Armv8-M ARM D1.2 for the stack limit.
 */
#include "platform.h"

#define SCB_AIRCR 0xE000ED0Cu
#define SCB_SHCSR 0xE000ED24u
#define SCB_CFSR 0xE000ED28u
#define SCB_HFSR 0xE000ED2Cu
#define SCB_MMFAR 0xE000ED34u
#define SCB_BFAR 0xE000ED38u
#define MPU_TYPE 0xE000ED90u
#define MPU_CTRL 0xE000ED94u
#define MPU_RBAR 0xE000ED9Cu
#define MPU_RASR 0xE000EDA0u
#define RBAR_VALID_REGION_0 0x10u
#define RASR_READ_ONLY_256_BYTES 0x1506000Fu /* XN, AP 101, outer and inner write-through, 2^(7 + 1) */
#define MPU_CTRL_ENABLE_DEFAULT_MAP 5u
#define AIRCR_SYSRESETREQ 0x05FA0004u
#define SHCSR_ALL_FAULTS 0x70000u

#define EXCEPTION_NMI 2u

/* CFSR: the exception's frame could not be pushed (MSTKERR, STKERR), or the stack limit was met (STKOF). */
#define CFSR_NO_FRAME 0x00101010u

/* r0 to r3, r12, lr, pc, xpsr: what an exception pushes. */
#define FRAME_WORDS 8u

/* A fault handler needs this much below the stack pointer, or it starts again at the stack's top. */
#define FAULT_STACK_BYTES 512

typedef void (*handler)(void);

struct vectors {
    uint32_t *stack;
    handler handlers[15];
};

void mtvm_reset(void);
void mtvm_start(void);
void mtvm_fault(const uint32_t *frame, uint32_t exception);
void mtvm_fault_entry(void);
void mtvm_systick(void);

/* counter.c has its own where it counts by interrupts. */
void mtvm_systick(void) __attribute__((weak, alias("mtvm_fault_entry")));

extern const struct vectors mtvm_vectors;
__attribute__((section(".vectors"), used)) const struct vectors mtvm_vectors = {
    mtvm_stack_end,
    {
        mtvm_reset,
        mtvm_fault_entry, /* NMI */
        mtvm_fault_entry, /* HardFault */
        mtvm_fault_entry, /* MemManage */
        mtvm_fault_entry, /* BusFault */
        mtvm_fault_entry, /* UsageFault */
        mtvm_fault_entry, /* SecureFault */
        mtvm_fault_entry,
        mtvm_fault_entry,
        mtvm_fault_entry,
        mtvm_fault_entry, /* SVCall */
        mtvm_fault_entry, /* DebugMonitor */
        mtvm_fault_entry,
        mtvm_fault_entry, /* PendSV */
        mtvm_systick,
    },
};

/* Nothing may touch the FPU or Helium before they are on, and the compiler may use them for a mere copy:
 * hence assembly, in instructions that Armv6-M has too. */
__attribute__((naked, used)) void mtvm_reset(void)
{
    __asm__ volatile(
        ".syntax unified\n"
        "ldr r0, =mtvm_stack_start + " TEXT(STACK_GUARD_BYTES) "\n"
        "ldr r1, =mtvm_stack_end\n"
        "mov sp, r1\n"
#if defined(__ARM_ARCH_8M_MAIN__) || defined(__ARM_ARCH_8_1M_MAIN__)
        "msr msplim, r0\n"
#endif
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
        "ldr r2, =0xE000ED88\n" /* CPACR: full access to CP10 and CP11 */
        "ldr r3, [r2]\n"
        "orr r3, r3, #0xF00000\n"
        "str r3, [r2]\n"
        "dsb\n"
        "isb\n"
#endif
        "ldr r2, =" TEXT(STACK_PAINT) "\n"
        "1: str r2, [r0]\n"
        "adds r0, r0, #4\n"
        "cmp r0, r1\n"
        "blo 1b\n"
        "bl mtvm_start\n"
        ".ltorg\n");
}

__attribute__((used)) void mtvm_start(void)
{
    const uint32_t *image = mtvm_data_image;

#if !defined(__ARM_ARCH_6M__)
    /* A stack that overflows can't take HardFault's frame either, which locks the core up; it can escalate
     * from these. */
    REGISTER(SCB_SHCSR) |= SHCSR_ALL_FAULTS;
#endif
#if defined(__ARM_ARCH_7M__) || defined(__ARM_ARCH_7EM__)
    /* Armv8-M has a stack limit. Here the guard is read-only by the MPU, where the core was built with one. */
    if (REGISTER(MPU_TYPE) != 0) {
        REGISTER(MPU_RBAR) = (uint32_t)(uintptr_t)mtvm_stack_start | RBAR_VALID_REGION_0;
        REGISTER(MPU_RASR) = RASR_READ_ONLY_256_BYTES;
        REGISTER(MPU_CTRL) = MPU_CTRL_ENABLE_DEFAULT_MAP;
        __asm__ volatile("dsb\nisb" ::: "memory");
    }
#endif
    for (uint32_t *word = mtvm_data_start; word < mtvm_data_end; word++) {
        *word = *image++;
    }
    for (uint32_t *word = mtvm_bss_start; word < mtvm_bss_end; word++) {
        *word = 0;
    }
    (void)main();
    board_reset();
}

void board_reset(void)
{
    __asm__ volatile("dsb" ::: "memory");
    REGISTER(SCB_AIRCR) = AIRCR_SYSRESETREQ;
    for (;;) {
    }
}

/* The frame is where the stack pointer was, unless the stack itself is what overflowed. */
__attribute__((naked, used)) void mtvm_fault_entry(void)
{
    __asm__ volatile(
        ".syntax unified\n"
        "mrs r0, msp\n"
        "mrs r1, ipsr\n"
        "ldr r2, =mtvm_stack_start + " TEXT(FAULT_STACK_BYTES) "\n"
        "cmp r0, r2\n"
        "bhs 1f\n"
        "ldr r2, =mtvm_stack_end\n"
        "mov sp, r2\n"
        "1: bl mtvm_fault\n"
        ".ltorg\n");
}

static const char *cause(uint32_t exception)
{
#ifdef BOARD_WATCHDOG_TICKS
    if (exception == EXCEPTION_NMI) {
        return "watchdog";
    }
#endif
    (void)exception;
    return "fault";
}

__attribute__((used)) void mtvm_fault(const uint32_t *frame, uint32_t exception)
{
#if defined(__ARM_ARCH_6M__)
    const int pushed = 1;
#else
    const int pushed = (REGISTER(SCB_CFSR) & CFSR_NO_FRAME) == 0;
#endif
    const int whole = pushed && frame >= mtvm_stack_start && frame + FRAME_WORDS <= mtvm_stack_end;
    const struct fault_register registers[] = {
        {"exception", exception},
        {"pc", whole ? frame[6] : 0},
        {"lr", whole ? frame[5] : 0},
        {"sp", (uint32_t)(uintptr_t)frame},
#if !defined(__ARM_ARCH_6M__)
        {"cfsr", REGISTER(SCB_CFSR)},
        {"hfsr", REGISTER(SCB_HFSR)},
        {"mmfar", REGISTER(SCB_MMFAR)},
        {"bfar", REGISTER(SCB_BFAR)},
#endif
    };

    fault_report(whole ? cause(exception) : "stack overflow", registers,
                 sizeof(registers) / sizeof(registers[0]));
    board_reset();
}

/* newlib asks for errno's address, and would bring a kilobyte of state with its own answer. */
int *__errno(void);
int *__errno(void)
{
    static int number;

    return &number;
}
