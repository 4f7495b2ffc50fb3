package netstack

// mostPieces is the most writes that the stack holds of a connection.
const mostPieces = 128

// pieces bounds in how many writes the stack holds what a program's system has not taken. Of each it keeps hundreds of bytes beside what was
// written, which it does not count. What it holds is what was written last: as long as that is less, in bytes, than the last mostPieces writes
// had together, it is no more than those. What has no room waits in the server's connection, where the system puts it together.
type pieces struct {
	most int64 // bytes that the stack may hold
	last [mostPieces]uint32
	made int // writes
	sum  int64
}

// room is how many bytes the stack may hold now.
func (p *pieces) room() int64 {
	if p.made < mostPieces {
		return p.most
	}
	return min(p.most, p.sum)
}

// wrote counts a write of n bytes.
func (p *pieces) wrote(n int64) {
	if n == 0 {
		return
	}
	at := &p.last[p.made%mostPieces]
	p.sum += n - int64(*at)
	*at = uint32(n)
	p.made++
}
