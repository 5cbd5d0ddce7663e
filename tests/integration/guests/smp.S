// The way of a second vCPU to ring 3, with the tables of start.S.

#define USER_CODE  0x23
#define USER_DATA  0x1b
#define IOPL3      0x3002

    .text
    .code32
    .globl second_start32
second_start32:
    movl $pml4, %eax
    movl %eax, %cr3
    movl $0x620, %eax               // PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $0xc0000080, %ecx          // EFER
    movl $0x100, %eax               // LME
    xorl %edx, %edx
    wrmsr
    movl $0x80000011, %eax          // PG, ET, PE
    movl %eax, %cr0
    movl $tss, %eax                 // A descriptor of its own: a busy one cannot be loaded
    movw %ax, gdt + 0x3a
    shrl $16, %eax
    movb %al, gdt + 0x3c
    movb %ah, gdt + 0x3f
    lgdt gdt_pointer
    ljmp $0x08, $second_start64

    .code64
second_start64:
    movl $0x10, %eax
    movl %eax, %ss
    movl $0x38, %eax
    ltr %ax
    movl $second_stack_end, %eax
    movl %eax, %esp
    pushq $USER_DATA
    pushq %rax
    pushq $IOPL3
    pushq $USER_CODE
    pushq $second_user
    iretq

second_user:
    movl $USER_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
1:  movq second_routine, %rax
    testq %rax, %rax
    jz 1b
    call *%rax
2:  jmp 2b

    .bss
    .align 16
    .globl second_routine
second_routine:
    .skip 8
    .skip 16384
    .align 16
second_stack_end:

    .section .note.GNU-stack, "", @progbits
