//go:build !race

package rawcall

func beforeWriting() {}

func afterReading() {}
