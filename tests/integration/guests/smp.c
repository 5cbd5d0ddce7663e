#include "smp.h"

// From smp.S: what the second vCPU waits for.
extern void (*volatile second_routine)(void);

void start_second_vcpu(void (*routine)(void)) { second_routine = routine; }
