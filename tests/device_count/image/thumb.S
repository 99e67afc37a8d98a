/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways in and out of a function on Cortex-M. Every global symbol t_* is followed by the test.
 * -DRAM=address -DUART=address of a register that can be read, -DV7 for ARMv7-M, -DMVE for Helium,
 * -DROUNDS=n -DPERIOD=ticks of the timer, -DTIMER=7 to let it strike or 0,
 * -DSTAY to wait forever at the end.
 */
    .syntax unified
    .thumb
    .text

    .word RAM + 0x2000
    .word reset + 1
    .rept 13
    .word hang + 1
    .endr
    .word systick + 1

    .macro function name
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
    .endm

function hang
    b hang

function reset
    cpsid i
#ifdef MVE
    ldr r0, =0xE000ED88 @ CPACR: the vector unit on
    ldr r1, [r0]
    orr r1, r1, #0xF00000
    str r1, [r0]
    dsb
    isb
#endif
    bl t_all
#ifdef STAY
    b hang
#endif
    ldr r1, =0x20026 @ semihosting: the application exits
    movs r0, #0x18
    bkpt 0xab
    b hang

function t_all
    push {r4, lr}
    bl t_straight
    movs r0, #7
    bl t_loop
    movs r0, #5
    bl t_entry_loop
    bl t_nested
    movs r0, #4
    bl t_recursive
    bl wrapper
    bl t_tail_first
    bl t_table
    movs r0, #0
    bl t_site_before_call
    movs r0, #1
    bl t_site_before_call
    bl t_next_instruction
    bl t_unwound
    bl t_moved_pc
    bl t_memory
    bl t_device
    bl t_interrupted
#ifdef V7
    bl t_conditional
    bl t_wide
    bl t_loaded_pc
#endif
#ifdef MVE
    bl t_hardware_loop
    bl t_tail_predicated
#endif
    pop {r4, pc}
    .ltorg

function t_straight
    movs r0, #1
    adds r0, #2
    adds r0, #3
    bx lr

/* r0 rounds */
function t_loop
    movs r1, #0
1:  adds r1, r1, r0
    subs r0, #1
    bne 1b
    bx lr

/* The loop's head is the function's first instruction. */
function t_entry_loop
    subs r0, #1
    bne t_entry_loop
    bx lr

function t_nested
    push {r4, lr}
    movs r4, #3
1:  bl t_straight
    mov r0, r4
    bl t_loop
    subs r4, #1
    bne 1b
    ldr r0, =t_straight + 1
    blx r0
    pop {r4, pc}
    .ltorg

/* Reaches its own return address by a jump as well, one level deeper. */
function t_recursive
    push {r4, lr}
    subs r0, #1
    beq 1f
    bl t_recursive
1:  adds r0, #1
    pop {r4, pc}

/* Not followed: a tail call from here belongs to the caller's frame. */
function wrapper
    movs r0, #3
    b t_tail_target

function t_tail_target
    nop
    bx lr

function t_tail_first
    push {r0, lr}
    bl t_straight
    pop {r0, r1}
    mov lr, r1
    ldr r2, =t_tail_second + 1
    bx r2
    .ltorg

function t_tail_second
    nop
    nop
    bx lr

/* Different functions from one call site. */
function t_table
    push {r4, r5, r6, lr}
    adr r4, 2f
    movs r5, #3
1:  ldmia r4!, {r6}
    movs r0, #2
    blx r6
    subs r5, #1
    bne 1b
    pop {r4, r5, r6, pc}
    .balign 4
2:  .word t_straight + 1, t_loop + 1, t_tail_second + 1
    .ltorg

/* With r0 = 0 the return address is reached, and translated, before the call ever runs. */
function t_site_before_call
    push {r4, lr}
    cmp r0, #0
    beq 1f
    bl t_straight
1:  nop
    pop {r4, pc}

/* A call to the next instruction, as position independent code has. */
function t_next_instruction
    push {r4, lr}
    bl 1f
1:  mov r0, lr
    pop {r4, pc}

/* Its callee never returns: it throws its own frame away and goes to the caller's end. */
function t_unwound
    push {r4, lr}
    mov r4, sp
    bl 1f
    nop
2:  mov sp, r4
    bl t_straight
    pop {r4, pc}
1:  push {r3, lr}
    b 2b

function t_moved_pc
    nop
    mov pc, lr

function t_memory
    push {r4, r5, r6, lr}
    ldr r0, =RAM + 0x100
    movs r1, #9
    str r1, [r0]
    strh r1, [r0, #4]
    strb r1, [r0, #6]
    ldr r2, [r0]
    ldrh r2, [r0, #4]
    ldrb r2, [r0, #6]
    movs r3, #4
    ldrsh r2, [r0, r3]
    ldrsb r2, [r0, r3]
    str r2, [r0, r3]
    strh r2, [r0, r3]
    strb r2, [r0, r3]
    ldr r2, [r0, r3]
    ldrh r2, [r0, r3]
    ldrb r2, [r0, r3]
    str r2, [sp, #0]
    ldr r2, [sp, #0]
    stmia r0!, {r1, r2, r3}
    subs r0, #12
    ldmia r0!, {r1, r2, r3}
    pop {r4, r5, r6, pc}
    .ltorg

/* Under -icount QEMU leaves a block in its middle when it meets a device. */
function t_device
    ldr r0, =UART
    movs r2, #3
1:  adds r3, r2, r2
    ldr r1, [r0]
    adds r3, r3, r1
    ldr r1, [r0]
    adds r3, r3, r1
    subs r2, #1
    bne 1b
    bx lr
    .ltorg

/* SysTick strikes all over this function; r7 counts how often. */
function t_interrupted
    push {r4, r5, r6, r7, lr}
    movs r7, #0
    ldr r4, =0xE000E010
    movs r0, #PERIOD
    str r0, [r4, #4]
    str r0, [r4, #8]
    movs r0, #TIMER
    str r0, [r4]
    ldr r6, =ROUNDS
    cpsie i
1:  bl t_straight
    movs r0, #3
    bl t_entry_loop
    subs r6, #1
    bne 1b
    cpsid i
    movs r0, #0
    str r0, [r4]
    mov r0, r7
    bl t_strikes
    pop {r4, r5, r6, r7, pc}
    .ltorg

/* Two instructions for every interrupt, and four: how the test learns their number. */
function t_strikes
    adds r0, #1
1:  subs r0, #1
    bne 1b
    bx lr

function systick
    push {r0, lr}
    adds r7, #1
    bl in_handler
    pop {r0, pc}

function in_handler
    nop
    bx lr

#ifdef V7
function t_conditional
    push {r4, lr}
    cmp lr, lr
    it ne
    blne t_straight
    nop
    it eq
    bleq t_straight
    movs r0, #3
    cmp r0, #2
    ite gt
    addgt r1, r0, r0
    addle r1, r0, r0
    itt ne
    popne {r4, lr}
    bxne lr
    udf #0

function t_wide
    stmdb sp!, {r4-r9, lr}
    ldr r0, =RAM + 0x100
    strd r4, r5, [r0]
    ldrd r6, r7, [r0], #8
    strd r6, r7, [r0, #-8]!
    ldr.w r1, [r0, #8]
    str.w r1, [r0, #8]
    ldrb.w r2, [r0, #1]!
    strb.w r2, [r0, #-1]!
    ldrsh.w r3, [r0, r2, lsl #1]
1:  ldrex r1, [r0]
    strex r2, r1, [r0]
    cmp r2, #0
    bne 1b
    ldrexb r1, [r0]
    strexb r2, r1, [r0]
    movs r1, #1
    tbb [pc, r1]
2:  .byte (3f - 2b) / 2, (4f - 2b) / 2
3:  nop
4:  nop
    ldm.w r0, {r1, r2, r3}
    stm.w r0, {r1, r2, r3}
    ldmia.w sp!, {r4-r9, pc}
    .ltorg

/* As GCC returns when there is one register to restore. */
function t_loaded_pc
    str.w lr, [sp, #-4]!
    nop
    ldr.w pc, [sp], #4
#endif

#ifdef MVE
function t_hardware_loop
    push {r4, lr}
    movs r0, #6
    dls lr, r0
1:  adds r1, #1
    adds r2, #1
    le lr, 1b
    movs r0, #0
    wls lr, r0, 2f
1:  nop
    le lr, 1b
2:  pop {r4, pc}

/* 37 elements: whole vectors, then a part of one. */
function t_tail_predicated
    push {r4, lr}
    ldr r0, =RAM + 0x400
    movs r1, #37
    vmov.i8 q0, #1
    dlstp.8 lr, r1
1:  vldrb.u8 q1, [r0]
    vadd.i8 q1, q1, q0
    vstrb.8 q1, [r0], #16
    letp lr, 1b
    pop {r4, pc}
    .ltorg
#endif
