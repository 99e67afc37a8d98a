/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ways in and out of a function on RV32. Every global symbol t_* is followed by the test.
 * -DRAM=address -DROUNDS=n -DPERIOD=ticks of the timer, -DTIMER=128 to let it strike or 0.
 */
    .text

    .macro function name
    .balign 4
    .global \name
    .type \name, @function
\name:
    .endm

function reset
    la sp, RAM + 0x2000
    la t0, trap
    csrw mtvec, t0
    call t_all
    li t0, 0x100000 # the test device: power off
    li t1, 0x5555
    sw t1, 0(t0)
1:  j 1b

function t_all
    addi sp, sp, -16
    sw ra, 12(sp)
    call t_straight
    li a0, 7
    jal t_loop
    li a0, 5
    jal t_entry_loop
    call t_nested
    li a0, 4
    call t_recursive
    call wrapper
    call t_tail_first
    call t_millicode
    li a0, 0
    call t_site_before_call
    li a0, 1
    call t_site_before_call
    call t_next_instruction
    call t_memory
    call t_device
    call t_interrupted
    lw ra, 12(sp)
    addi sp, sp, 16
    ret

function t_straight
    li a0, 1
    addi a0, a0, 2
    .option push
    .option norvc
    addi a0, a0, 3
    .option pop
    ret

function t_loop
    li a1, 0
1:  add a1, a1, a0
    addi a0, a0, -1
    bnez a0, 1b
    ret

function t_entry_loop
    addi a0, a0, -1
    bnez a0, t_entry_loop
    .option push
    .option norvc
    ret
    .option pop

function t_nested
    addi sp, sp, -16
    sw ra, 12(sp)
    sw s0, 8(sp)
    li s0, 3
1:  call t_straight
    mv a0, s0
    .option push
    .option norvc
    jal t_loop
    .option pop
    addi s0, s0, -1
    bnez s0, 1b
    la a5, t_straight
    jalr a5
    lw s0, 8(sp)
    lw ra, 12(sp)
    addi sp, sp, 16
    ret

/* Reaches its own return address by a jump as well, one level deeper. */
function t_recursive
    addi sp, sp, -16
    sw ra, 12(sp)
    addi a0, a0, -1
    beqz a0, 1f
    jal t_recursive
1:  addi a0, a0, 1
    lw ra, 12(sp)
    addi sp, sp, 16
    ret

/* Not followed: a tail call from here belongs to the caller's frame. */
function wrapper
    li a0, 3
    j t_tail_target

function t_tail_target
    nop
    ret

function t_tail_first
    addi sp, sp, -16
    sw ra, 12(sp)
    call t_straight
    lw ra, 12(sp)
    addi sp, sp, 16
    tail t_tail_second

function t_tail_second
    nop
    nop
    ret

/* Saves registers as GCC's -msave-restore does: through t0, and out by a tail call. */
function t_millicode
    jal t0, save
    call t_straight
    tail restore

function save
    addi sp, sp, -16
    sw ra, 12(sp)
    jr t0

function restore
    lw ra, 12(sp)
    addi sp, sp, 16
    ret

/* With a0 = 0 the return address is reached, and translated, before the call ever runs. */
function t_site_before_call
    addi sp, sp, -16
    sw ra, 12(sp)
    beqz a0, 1f
    call t_straight
1:  nop
    lw ra, 12(sp)
    addi sp, sp, 16
    ret

function t_next_instruction
    mv a1, ra
    jal 1f
1:  mv a0, ra
    jr a1

function t_memory
    la a0, RAM + 0x100
    li a1, 9
    sw a1, 0(a0)
    sh a1, 4(a0)
    sb a1, 6(a0)
    lw a2, 0(a0)
    lh a2, 4(a0)
    lhu a2, 4(a0)
    lb a2, 6(a0)
    lbu a2, 6(a0)
    sw a2, -4(sp)
    lw t3, -4(sp)
    sw t3, 0(a0)
1:  lr.w a3, (a0)
    sc.w a4, a3, (a0)
    bnez a4, 1b
    amoadd.w a3, a1, (a0)
    amoswap.w a3, a1, (a0)
    addi sp, sp, -16
    sw a3, 4(sp)
    lw a4, 4(sp)
    addi sp, sp, 16
    ret

/* Under -icount QEMU leaves a block in its middle when it meets a device. */
function t_device
    li a0, 0x10000000
    li a2, 3
1:  add a3, a2, a2
    lbu a1, 5(a0)
    add a3, a3, a1
    lbu a1, 5(a0)
    add a3, a3, a1
    addi a2, a2, -1
    bnez a2, 1b
    ret

/* The timer strikes all over this function; s7 counts how often. */
function t_interrupted
    addi sp, sp, -16
    sw ra, 12(sp)
    li s7, 0
    li s4, 0x02004000 # mtimecmp
    li s5, 0x0200BFF8 # mtime
    sw zero, 4(s4)
    lw t0, 0(s5)
    addi t0, t0, PERIOD
    sw t0, 0(s4)
    li t0, TIMER
    csrw mie, t0
    li s6, ROUNDS
    csrsi mstatus, 8
1:  call t_straight
    li a0, 3
    call t_entry_loop
    addi s6, s6, -1
    bnez s6, 1b
    csrci mstatus, 8
    mv a0, s7
    call t_strikes
    lw ra, 12(sp)
    addi sp, sp, 16
    ret

/* Two instructions for every interrupt, and four: how the test learns their number. */
function t_strikes
    addi a0, a0, 1
1:  addi a0, a0, -1
    bnez a0, 1b
    ret

    .balign 64
function trap
    addi sp, sp, -16
    sw ra, 12(sp)
    sw t0, 8(sp)
    addi s7, s7, 1
    lw t0, 0(s5)
    addi t0, t0, PERIOD
    sw t0, 0(s4)
    call in_handler
    lw t0, 8(sp)
    lw ra, 12(sp)
    addi sp, sp, 16
    mret

function in_handler
    nop
    ret
