// A guest that stays in ring 0, in 32-bit protected mode without paging, where it was entered. The
// first letter of its command line says how it misbehaves.

#define CODE        0x10            // The VMM's table has it.
#define SERIAL      0x3f8
#define SLEEP       0x600
#define SLEEP_S5    0x34
#define FAULT       13              // General protection

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18
    .asciz "Xen"
    .long start32

    .macro print letter
    movw $SERIAL, %dx
    movb $\letter, %al
    outb %al, %dx
    .endm

    .section .text.start, "ax"
    .code32
    .globl start32
start32:
    movl $stack_end, %esp
    movl $fault, %eax               // The only gate of the table
    movw %ax, idt + FAULT * 8
    movw $CODE, idt + FAULT * 8 + 2
    movw $0x8e00, idt + FAULT * 8 + 4
    shrl $16, %eax
    movw %ax, idt + FAULT * 8 + 6
    lidt idt_pointer
    movl 24(%ebx), %esi             // hvm_start_info: the command line
    movb (%esi), %bl
    print 'R'
    cmpb $'h', %bl
    je halt
    cmpb $'l', %bl
    je loop
    cmpb $'r', %bl
    je read_msr
    cmpb $'w', %bl
    je write_msr
    cmpb $'f', %bl
    je flood
    ud2                             // Without a gate: a triple fault

halt:
    cli
    hlt
    jmp halt

loop:
    jmp loop

read_msr:
    movl $0x4d595259, %ecx
    rdmsr
    jmp power_off

write_msr:
    movl $0x4d595259, %ecx
    wrmsr
    jmp power_off

flood:                              // 72 KiB
    movl $18, %ebx
1:  movl $4096, %ecx
    movl $0x100000, %esi
    movw $SERIAL, %dx
    cld
    rep outsb
    decl %ebx
    jnz 1b
    jmp power_off

fault:
    print 'F'
power_off:
    movw $SLEEP, %dx
    movb $SLEEP_S5, %al
    outb %al, %dx
    jmp power_off

    .data
    .align 8
idt:
    .fill (FAULT + 1) * 8, 1, 0
idt_pointer:
    .word . - idt - 1
    .long idt

    .bss
    .align 16
    .skip 4096
stack_end:

    .section .note.GNU-stack, "", @progbits
