/* SPDX-License-Identifier: Apache-2.0 */
/* Short sequences whose cycles test_timing.py adds up by hand. Every global symbol t_* is followed. */
    .text

    .macro function name
    .balign 4
    .global \name
    .type \name, @function
\name:
    .endm

function reset
    la sp, RAM + 0x2000
    la a0, RAM
    call t_memory
    call t_arithmetic
    call t_compressed
    call t_wide
    call t_loop
    call t_call
    li t0, 0x100000 # the test device: power off
    li t1, 0x5555
    sw t1, 0(t0)
1:  j 1b

    .option norvc
function t_memory
    lw a1, 0(a0)
    lbu a2, 4(a0)
    sw a1, 8(a0)
    sb a1, 8(a0)
    ret

function t_arithmetic
    add a1, a1, a1
    mul a1, a1, a1
    mulhu a2, a1, a1
    div a3, a1, a2
    remu a3, a1, a2
    ret

    .option rvc
function t_compressed
    c.mv a1, a0
    c.add a1, a0
    c.lw a2, 0(a0)
    c.sw a2, 8(a0)
    c.addi4spn a2, sp, 8
    c.slli a2, 1
    c.addi16sp sp, -16
    c.swsp a2, 4(sp)
    c.lwsp a2, 4(sp)
    c.addi16sp sp, 16
    c.li a3, 0
    c.beqz a3, 1f
    c.nop
1:  c.bnez a3, 2f
    c.nop
2:  c.j 3f
    c.nop
3:  c.jr ra

    .option norvc
function t_wide
    beq a0, a0, 1f
    nop
1:  bne a0, a0, 2f
    nop
2:  j 3f
    nop
3:  ret

function t_loop
    li a1, 4
1:  addi a1, a1, -1
    bnez a1, 1b
    ret

function t_call
    mv t1, ra
    jal t_leaf
    la t2, t_leaf # two instructions
    jalr t2
    jr t1

function t_leaf
    ret
