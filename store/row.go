package store

// Row is a row of the table `apis` of the platform that this one replaces, which other programs go on writing.
type Row struct {
	ID           string // theirs, whatever its type, as text
	Name         string // theirs, any text; empty where the table has no names
	Code         string // code_snapshot
	Requirements string
	Active       bool   // false where the table says is_active = false
	Stamp        string // changes with Code, Requirements and Active
}

// Followed is what was taken over of a Row.
type Followed struct {
	Stamp   string // of the row then
	Problem string // why that content does not serve; empty: it does
}
