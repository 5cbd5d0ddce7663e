// Entry of the small guests of tests and benches. They are ELF files with a PVH note, booted like any kernel. Ring 0
// is used only to get to ring 3, where the C code runs with IOPL 3: on a KVM that emulates ring 0
// that is the difference between 600 ns and 0.3 ns an instruction. The page tables are data, so that
// no instruction is spent on making them.

#define USER_TABLE 0x7
#define USER_LARGE 0x87
#define USER_CODE  0x23
#define USER_DATA  0x1b
#define IOPL3      0x3002

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18
    .asciz "Xen"
    .long start32

    .section .text.start, "ax"
    .code32
    .globl start32
start32:
    jmp first_start32
    // A second vCPU, in guests that have a use for one (smp.S), starts here.
    .org 16
    .weak second_start32
    jmp second_start32
first_start32:
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
    movl $tss, %eax                 // The TSS descriptor's base, which is scattered over it
    movw %ax, gdt + 0x2a
    shrl $16, %eax
    movb %al, gdt + 0x2c
    movb %ah, gdt + 0x2f
    lgdt gdt_pointer
    ljmp $0x08, $start64

    .code64
start64:
    movl $0x10, %eax
    movl %eax, %ss
    movl $0x28, %eax
    ltr %ax
    movl %ebx, %edi                 // hvm_start_info
    movl $stack_end, %eax
    movl %eax, %esp
    pushq $USER_DATA
    pushq %rax
    pushq $IOPL3
    pushq $USER_CODE
    pushq $start_user
    iretq

start_user:
    movl $USER_DATA, %eax
    movl %eax, %ds
    movl %eax, %es
    call guest_start
1:  jmp 1b

    // Start of the ring-0 code that breaks the machine on purpose: with no IDT every exception is a
    // triple fault.
    .globl triple_fault
triple_fault:
    ud2

    .section .data.boot, "aw"
    .align 4096
    .globl pml4, gdt, gdt_pointer, tss
pml4:
    .quad pdpt + USER_TABLE
    .fill 511, 8, 0
pdpt:
    .quad directory0 + USER_TABLE
    .quad directory1 + USER_TABLE
    .quad directory2 + USER_TABLE
    .quad directory3 + USER_TABLE
    .fill 508, 8, 0
    .macro directory name gib
\name:
    .set page, \gib * 512
    .rept 512
    .quad (page << 21) + USER_LARGE
    .set page, page + 1
    .endr
    .endm
    directory directory0 0
    directory directory1 1
    directory directory2 2
    directory directory3 3

gdt:
    .quad 0
    .quad 0x00af9b000000ffff        // 0x08 code, ring 0, 64-bit
    .quad 0x00cf93000000ffff        // 0x10 data, ring 0
    .quad 0x00cff3000000ffff        // 0x18 data, ring 3
    .quad 0x00affb000000ffff        // 0x20 code, ring 3, 64-bit
    .quad 0x0000890000002068        // 0x28 TSS, 64-bit; its base is filled in at the start
    .quad 0
    .quad 0x0000890000002068        // 0x38 the same for a second vCPU
    .quad 0
gdt_pointer:
    .word . - gdt - 1
    .long gdt

    // All ports are open to ring 3, by IOPL and by this bitmap: some hosts drop the IOPL on iretq.
    .align 16
tss:
    .fill 102, 1, 0
    .word 104
    .fill 8192, 1, 0
    .byte 0xff

    .bss
    .align 16
    .skip 65536
    .globl stack_end
stack_end:

    .section .note.GNU-stack, "", @progbits
