"""Free memory, written once before a measurement.

The lab's emulator keeps what it has translated of the code in a page of memory, and the first write to
such a page costs it a tenth of a millisecond. A guest that has ended leaves its kernel's pages behind
like that, and whoever gets them next pays: up to 0.2 s of a boot, by lot. No hardware does this. So
the benches that compare one guest with the next write to free memory between their measurements.
"""
import mmap
import os

HUGE_PAGES = 768 << 20
SMALL_PAGES = 64 << 20


def write_to_free_memory():
    """On each processor, for each has free pages that it keeps to itself; none is given back before
    the end, so that none is written to twice."""
    processors = os.sched_getaffinity(0)
    held = []
    for processor in processors:
        os.sched_setaffinity(0, {processor})
        for size, step, advice in ((HUGE_PAGES, 1 << 21, mmap.MADV_HUGEPAGE),
                                   (SMALL_PAGES, 1 << 12, mmap.MADV_NOHUGEPAGE)):
            pages = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            pages.madvise(advice)
            for offset in range(0, size, step):
                pages[offset] = 1
            held.append(pages)
    os.sched_setaffinity(0, processors)
    for pages in held:
        pages.close()
