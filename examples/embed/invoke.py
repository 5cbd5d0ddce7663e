#!/usr/bin/env python3
"""Restores a clone of a snapshot through ctypes, and prints its answer.

  LD_LIBRARY_PATH=PREFIX/lib invoke.py hello.snapshot '{"name":"Ada"}'
"""
import ctypes
import sys

MOST_EVENT_BYTES = 6 * 1024 * 1024

library = ctypes.CDLL("libmayfly.so.0")
library.mayfly_strerror.restype = ctypes.c_char_p
# Handles are 64-bit values: without this Python would cut them to an int.
HANDLE = ctypes.c_void_p
library.mayfly_open.argtypes = [ctypes.c_void_p, ctypes.POINTER(HANDLE)]
library.mayfly_close.argtypes = [HANDLE]
library.mayfly_error.argtypes = [HANDLE, ctypes.c_char_p, ctypes.c_size_t]
library.mayfly_snapshot_open.argtypes = [
    HANDLE, ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(HANDLE)]
library.mayfly_snapshot_close.argtypes = [HANDLE]
library.mayfly_restore.argtypes = [HANDLE, ctypes.c_void_p, ctypes.POINTER(HANDLE)]
library.mayfly_function_close.argtypes = [HANDLE]
library.mayfly_invoke.argtypes = [
    HANDLE, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_size_t)]


class MayflyError(Exception):
    pass


def check(status, handle):
    if status >= 0:
        return
    text = ctypes.create_string_buffer(512)
    if library.mayfly_error(handle, text, len(text)) <= 0:
        text.value = library.mayfly_strerror(status)
    raise MayflyError(text.value.decode())


def invoke(function, event):
    answer = ctypes.create_string_buffer(MOST_EVENT_BYTES)
    size = ctypes.c_size_t(len(answer))
    check(library.mayfly_invoke(function, event, len(event), None, answer, ctypes.byref(size)),
          function)
    return answer.raw[:size.value]


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: invoke.py SNAPSHOT EVENT")
    instance, snapshot, function = HANDLE(), HANDLE(), HANDLE()
    check(library.mayfly_open(None, ctypes.byref(instance)), None)
    check(library.mayfly_snapshot_open(instance, sys.argv[1].encode(), None,
                                       ctypes.byref(snapshot)), instance)
    check(library.mayfly_restore(snapshot, None, ctypes.byref(function)), snapshot)
    sys.stdout.buffer.write(invoke(function, sys.argv[2].encode()))
    library.mayfly_function_close(function)
    library.mayfly_snapshot_close(snapshot)
    library.mayfly_close(instance)


try:
    main()
except MayflyError as error:
    sys.exit(f"invoke.py: {error}")
