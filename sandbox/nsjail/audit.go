package nsjail

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	auditGet      = 1000 // AUDIT_GET of linux/audit.h
	auditPID      = 12   // where struct audit_status has the process
	auditPatience = 100 * time.Millisecond
)

// Auditd returns the process that takes the kernel's audit records, mostly auditd, and 0 where there is none. The error says why the
// kernel did not tell: it is built without, or this process is root of a container alone.
func Auditd() (pid int, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_AUDIT)
	if err != nil {
		return 0, fmt.Errorf("ask for the process that takes audit records: %w", err)
	}
	defer unix.Close(fd)
	patience := unix.NsecToTimeval(auditPatience.Nanoseconds())
	request := binary.NativeEndian.AppendUint32(nil, unix.NLMSG_HDRLEN)
	request = binary.NativeEndian.AppendUint16(request, auditGet)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST)
	request = append(request, make([]byte, 8)...) // sequence, and the kernel as whom it is for
	answer := make([]byte, 4<<10)
	n := 0
	if err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err == nil {
		err = unix.Sendto(fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}
	if err == nil {
		n, _, err = unix.Recvfrom(fd, answer, 0)
	}
	if err != nil {
		return 0, fmt.Errorf("ask for the process that takes audit records: %w", err)
	}
	return parseAuditStatus(answer[:n])
}

// audited reports whether the kernel's records go to such a process. Where that cannot be told they are taken to go to the kernel's log.
func audited() bool {
	pid, err := Auditd()
	return err == nil && pid != 0
}

// parseAuditStatus reads the kernel's answer (netlink(7), struct audit_status of linux/audit.h).
func parseAuditStatus(answer []byte) (pid int, err error) {
	messages, err := syscall.ParseNetlinkMessage(answer)
	if err != nil {
		return 0, fmt.Errorf("read the answer about audit records: %w", err)
	}
	for _, m := range messages {
		switch {
		case m.Header.Type == auditGet && len(m.Data) >= auditPID+4:
			return int(binary.NativeEndian.Uint32(m.Data[auditPID:])), nil
		case m.Header.Type == unix.NLMSG_ERROR && len(m.Data) >= 4:
			if code := int32(binary.NativeEndian.Uint32(m.Data)); code < 0 {
				return 0, fmt.Errorf("ask for the process that takes audit records: %w", syscall.Errno(-code))
			}
		}
	}
	return 0, errors.New("ask for the process that takes audit records: the kernel does not say")
}
