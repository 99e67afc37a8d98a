/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Short sequences whose cycles test_timing.py adds up by hand. Every global symbol t_* is followed.
 * -DRAM=address of memory that holds no zeros where it is written to, -DV7 for ARMv7-M, -DFPU for
 * single precision, -DMVE for Helium.
 */
    .syntax unified
    .thumb
    .text

    .word RAM + 0x2000
    .word reset + 1
    .rept 14
    .word hang + 1
    .endr

    .macro function name
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
    .endm

    .macro measure name
    ldr r0, =RAM
    bl \name
    .endm

function hang
    b hang

function reset
    cpsid i
#ifdef FPU
    ldr r0, =0xE000ED88 @ CPACR: FPU and vector unit on
    ldr r1, [r0]
    orr r1, r1, #0xF00000
    str r1, [r0]
    dsb
    isb
#endif
    ldr r0, =RAM
    str r0, [r0, #16] @ an address that leads back
    measure t_loads_in_a_row
    measure t_loads_apart
    measure t_address_loaded
    measure t_index_loaded
    measure t_store_then_load
    measure t_store_register
    measure t_multiples
    measure t_multiply
    measure t_loop
    measure t_forward
    measure t_call
    measure t_page
#ifdef V7
    measure t_divide
    measure t_long
    measure t_compare
    measure t_dual
    measure t_table
    measure t_skipped
    measure t_loaded_pc
    measure t_wide
#endif
#ifdef FPU
    measure t_float
    measure t_float_memory
#endif
#ifdef MVE
    measure t_vector_alternating
    measure t_vector_same_pipe
    measure t_vector_apart
    measure t_hardware_loop
    measure t_vector_loop
    measure t_loop_not_begun
#endif
    ldr r1, =0x20026 @ semihosting: the application exits
    movs r0, #0x18
    bkpt 0xab
    b hang
    .ltorg

function t_loads_in_a_row
    ldr r1, [r0]
    ldrb r2, [r0, #4]
    ldrh r3, [r0, #8]
    bx lr

function t_loads_apart
    ldr r1, [r0]
    nop
    ldr r2, [r0, #4]
    nop
    bx lr

function t_address_loaded
    ldr r1, [r0, #16]
    ldr r2, [r1]
    bx lr

function t_index_loaded
    ldr r1, [r0]
    ldr r2, [r0, r1]
    bx lr

function t_store_then_load
    str r1, [r0, #4]
    ldr r2, [r0]
    bx lr

function t_store_register
    movs r3, #8
    ldr r1, [r0]
    str r1, [r0, r3]
    ldr r2, [r0]
    bx lr

function t_multiples
    push {r4, r5, lr}
    adds r0, #32
    stmia r0!, {r1, r2}
    ldmia r0!, {r1, r2, r3}
    pop {r4, r5, pc}

function t_multiply
    muls r1, r0
    bx lr

function t_loop
    movs r1, #4
1:  subs r1, #1
    bne 1b
    bx lr

function t_forward
    cmp r0, r0
    bne 1f
    nop
1:  beq 2f
    nop
2:  bx lr

function t_call
    push {r4, lr}
    bl t_leaf
    pop {r4, pc}

function t_leaf
    bx lr

/* The third load is on another page, where QEMU begins a new block. */
    .balign 4096
    .space 4092
function t_page
    ldr r1, [r0]
    ldr r2, [r0, #4]
    ldr r3, [r0, #8]
    bx lr

#ifdef V7
function t_divide
    movs r1, #1
    sdiv r2, r1, r1
    udiv r2, r1, r1
    bx lr

function t_long
    smull r1, r2, r0, r0
    umlal r1, r2, r0, r0
    mla r1, r0, r0, r1
    bx lr

function t_compare
    movs r1, #0
    cbz r1, 1f
    nop
1:  cbnz r1, 2f
    nop
2:  bx lr

function t_dual
    strd r0, r1, [r0, #32]
    ldrd r2, r3, [r0, #32]
    bx lr

function t_table
    movs r1, #1
    tbb [pc, r1]
1:  .byte (2f - 1b) / 2, (3f - 1b) / 2
2:  nop
3:  bx lr

function t_skipped
    cmp r0, r0
    it ne
    ldrne r1, [r0]
    it eq
    ldreq r1, [r0]
    it ne
    popne {r4, pc}
    it eq
    bxeq lr
    udf #0

function t_loaded_pc
    str lr, [sp, #-4]!
    ldr pc, [sp], #4

function t_wide
    ldr.w r1, [r0, #4]
    ldr.w r2, [r0], #4
    ldrsb.w r3, [r0, r1, lsl #2]
    str.w r3, [r0, #32]
    ldr.w r1, [r0, #-4]
    b.w 1f
1:  bx lr
#endif

#ifdef FPU
function t_float
    vmov.f32 s0, #1.0
    vadd.f32 s1, s0, s0
    vmul.f32 s2, s0, s0
    vmla.f32 s1, s0, s0
    vfma.f32 s1, s0, s0
    vdiv.f32 s2, s0, s1
    vsqrt.f32 s2, s1
    vcvt.s32.f32 s3, s0
    vcmp.f32 s0, s1
    vmrs APSR_nzcv, fpscr
    vmov r1, s0
    vmov r1, r2, s0, s1
    bx lr

function t_float_memory
    vldr s0, [r0]
    vldr d1, [r0]
    vldmia r0!, {s0-s3}
    vpush {s0-s1}
    vpop {s0-s1}
    vstr s0, [r0, #32]
    bx lr
#endif

#ifdef MVE
function t_vector_alternating
    vldrw.u32 q0, [r0]
    vmladava.s32 r2, q0, q0
    vldrw.u32 q1, [r0, #16]
    vmladava.s32 r2, q1, q1
    bx lr

/* But for the product the example of LLVM's ARMScheduleM55.td: six cycles. */
function t_vector_same_pipe
    vldrw.u32 q0, [r0]
    vldrb.u8 q1, [r0]
    vadd.i32 q0, q0, q1
    vstrw.32 q0, [r0, #32]
    bx lr

function t_vector_apart
    vldrw.u32 q0, [r0]
    nop
    vadd.i32 q0, q0, q0
    bx lr

function t_hardware_loop
    push {r4, lr}
    movs r1, #6
    dls lr, r1
1:  adds r1, #1
    adds r2, #1
    le lr, 1b
    pop {r4, pc}

function t_vector_loop
    push {r4, lr}
    movs r1, #4
    dls lr, r1
1:  vldrw.u32 q0, [r0]
    vmladava.s32 r2, q0, q0
    le lr, 1b
    pop {r4, pc}

function t_loop_not_begun
    push {r4, lr}
    movs r1, #0
    wls lr, r1, 2f
1:  nop
    le lr, 1b
2:  pop {r4, pc}
#endif
