#pragma once

// The second vCPU of a machine whose host has put it 16 bytes behind the guest's entry, ready to
// run: not every KVM delivers INIT and SIPI.

// Has it run `routine`, which must not return, in ring 3 on a stack of its own. Once.
void start_second_vcpu(void (*routine)(void));
