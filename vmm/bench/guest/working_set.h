#pragma once

// The working set of restore_guest.c, which the bench fills ahead: runs of 2 and 3 pages with gaps
// between them, as functions touch their memory, and every third page written.
#define PAGE_SIZE 4096
#define WORKING_SET 0x4000000 /* 64 MiB */
#define RUN_STRIDE 8          /* Pages from one run's start to the next's. */
#define RUN_PAGES(run) (2 + ((run) & 1))
#define IS_WRITTEN(count) ((count) % 3 == 0) /* `count` pages were touched before. */
