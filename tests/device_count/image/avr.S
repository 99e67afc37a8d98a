; Functions whose cycles the AVR Instruction Set Manual says, for a core with a program counter of 22 bits.
    .text
    .global main, loop_of_ten, memory, outer, finished

main:
    call loop_of_ten
    ldi r26, 0x00 ; X, Y and Z
    ldi r27, 0x04
    ldi r28, 0x10
    ldi r29, 0x04
    clr r30
    clr r31
    call memory
    call outer
    call finished
1:  rjmp 1b

; 1 + 10 * 1 + 9 * 2 + 1, RET 5: 35 cycles, 22 instructions
loop_of_ten:
    ldi r24, 10
1:  dec r24
    brne 1b
    ret

; LDS 2, STS 2, LD 2, STD 2, LPM 3, PUSH 2, POP 2, MULS 2, MOVW 1, RET 5: 23 cycles, 10 instructions
memory:
    lds r24, 0x0400
    sts 0x0401, r24
    ld r25, X
    std Y+1, r25
    lpm r24, Z
    push r24
    pop r24
    muls r24, r25
    movw r24, r0
    ret

; CALL 5, the 35 of its callee, CLR 1, SBRC that skips a word 2, RET 5: 48 cycles
outer:
    call loop_of_ten
    clr r24
    sbrc r24, 0
    nop
    ret

finished:
    ret
