// Command apibuilder serves complete FastAPI programs, each in a sandbox of its own. See package cli for its commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"apibuilder/cli"
)

// exitInterrupted is what shells report for a program that SIGINT ended.
const exitInterrupted = 130

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup(1) has it
		signal.Notify(signals, syscall.SIGHUP)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-signals
		cancel()
		for s := range signals {
			if s != syscall.SIGHUP { // which the shell and the kernel send, both
				os.Exit(exitInterrupted) // whoever asks twice does not want to wait
			}
		}
	}()
	os.Exit(cli.Run(ctx, os.Args, os.Stdin, os.Stdout, os.Stderr))
}
