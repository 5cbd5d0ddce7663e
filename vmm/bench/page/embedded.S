// The files of the page of `mayfly bench restore --html`, as they are; vmm/bench/bench_page.cc.
    .section .rodata
    .macro embed name, file
    .global \name\()_start, \name\()_end
\name\()_start:
    .incbin "\file"
\name\()_end:
    .endm
    embed mayfly_chart_library, CHART_LIBRARY
    embed mayfly_page_script, PAGE_SCRIPT
    embed mayfly_page_style, PAGE_STYLE
    .section .note.GNU-stack, "", %progbits
