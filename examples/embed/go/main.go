// Restores a clone of a snapshot through cgo, and prints its answer:
//
//	go build -o invoke && ./invoke hello.snapshot '{"name":"Ada"}'
package main

// #cgo pkg-config: mayfly
// #include <mayfly.h>
// #include <stdlib.h>
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

func check(status C.int, of unsafe.Pointer) error {
	if status >= 0 {
		return nil
	}
	text := make([]byte, 512)
	length := int(C.mayfly_error(of, (*C.char)(unsafe.Pointer(&text[0])), C.size_t(len(text))))
	if length <= 0 {
		return fmt.Errorf("%s", C.GoString(C.mayfly_strerror(status)))
	}
	if length >= len(text) {
		length = len(text) - 1
	}
	return fmt.Errorf("%s", text[:length])
}

func invoke(function *C.mayfly_function, event []byte) ([]byte, error) {
	answer := make([]byte, C.MAYFLY_MOST_EVENT_BYTES)
	size := C.size_t(len(answer))
	input := C.CBytes(event)
	defer C.free(input)
	status := C.mayfly_invoke(function, input, C.size_t(len(event)), nil,
		unsafe.Pointer(&answer[0]), &size)
	if err := check(status, unsafe.Pointer(function)); err != nil {
		return nil, err
	}
	return answer[:size], nil
}

func run(path, event string) error {
	var lib *C.mayfly_instance
	if err := check(C.mayfly_open(nil, &lib), nil); err != nil {
		return err
	}
	defer C.mayfly_close(lib)
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var snapshot *C.mayfly_snapshot
	if err := check(C.mayfly_snapshot_open(lib, name, nil, &snapshot), unsafe.Pointer(lib)); err != nil {
		return err
	}
	defer C.mayfly_snapshot_close(snapshot)
	var function *C.mayfly_function
	if err := check(C.mayfly_restore(snapshot, nil, &function), unsafe.Pointer(snapshot)); err != nil {
		return err
	}
	defer C.mayfly_function_close(function)
	answer, err := invoke(function, []byte(event))
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(answer)
	return err
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: invoke SNAPSHOT EVENT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "invoke:", err)
		os.Exit(1)
	}
}
