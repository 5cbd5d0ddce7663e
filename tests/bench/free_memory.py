"""Free memory, written once before a measurement.

The lab's emulator keeps what it has translated of the code in a page of memory, and the first write to
such a page costs it a tenth of a millisecond. A guest that has ended leaves its kernel's pages behind
like that, and whoever gets them next pays: up to 0.2 s of a boot, by lot. No hardware does this. So
the benches that compare one guest with the next write to free memory between their measurements.
"""
import mmap

HUGE_PAGES = 768 << 20
SMALL_PAGES = 64 << 20


def write_to_free_memory():
    # Both at the same time, so that neither gets what the other has written to.
    with mmap.mmap(-1, HUGE_PAGES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as huge, \
         mmap.mmap(-1, SMALL_PAGES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as small:
        huge.madvise(mmap.MADV_HUGEPAGE)
        for offset in range(0, HUGE_PAGES, 1 << 21):
            huge[offset] = 1
        for offset in range(0, SMALL_PAGES, 1 << 12):
            small[offset] = 1
