package nsjail

import "golang.org/x/sys/unix"

// nativeArch is what the audit log calls this architecture.
const nativeArch = unix.AUDIT_ARCH_X86_64
