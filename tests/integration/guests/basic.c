// Ends, exits and accesses without a device. The command line says which.
#include "guest.h"

static int is(const char* command_line, const char* word) {
  return strlen(command_line) == strlen(word) && memcmp(command_line, word, strlen(word)) == 0;
}

int guest_main(const char* command_line) {
  if (is(command_line, "hello")) {
    print("hello\n");
    return 0;
  }
  if (is(command_line, "reset-acpi")) outb(0x602, 1);
  if (is(command_line, "reset-i8042")) outb(0x64, 0xfe);
  if (is(command_line, "triple-fault")) triple_fault();
  if (is(command_line, "loop")) {
    print("looping\n");
    for (;;) {
    }
  }
  if (is(command_line, "unmapped")) {
    // Nothing claims these: they read as all ones, and writing does nothing.
    EXPECT(read32(0xd8000000) == 0xffffffff);
    write32(0xd8000000, 1);
    EXPECT(inb(0x1234) == 0xff);
    outb(0x1234, 0);
    return 0;
  }
  if (is(command_line, "touch")) {
    // A page in the middle of memory that the host may have made inaccessible.
    print("touching\n");
    print_hex(*(volatile uint64_t*)(64 << 20));
    return 0;
  }
  if (is(command_line, "echo")) {
    // Echoes what arrives at the serial port up to a dot.
    for (;;) {
      while ((inb(0x3f8 + 5) & 1) == 0) {
      }
      const uint8_t byte = inb(0x3f8);
      if (byte == '.') return 0;
      outb(0x3f8, byte);
    }
  }
  if (is(command_line, "count")) {
    // Counts until a byte arrives at the serial port.
    for (uint64_t number = 0; (inb(0x3f8 + 5) & 1) == 0; ++number) {
      print_hex(number);
      print("\n");
    }
    return 0;
  }
  fail("unknown command line");
}
