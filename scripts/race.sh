#!/usr/bin/env bash
# Runs the tests under the race detector, which finds races in this process alone: scripts/race.sh [arguments of go test].
# What only waits for other programs, or runs the same code again for their sake, is left out; scripts/test.sh has it all.
# So is vet, which tests and lint have.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

find_go
left_out=(
	internal/endtoend # drives a binary that is built without the detector; TestScripts has a whole server with it
	internal/packages # waits for Python packages in jails; our side of that is in sandbox's own tests
	sandbox/selftest  # attacks from inside, one after the other; the manager and the driver have their own tests
	store/sealed      # the conformance suite of the store below it, again
	bench/            # no tests
)
repeated=(
	TestKilledAtRandomMoments   # kills children that build; the building is in the tests beside it
	TestTwoPythonsEachWithItsPillow # waits for uv and copies an interpreter
	TestEnvironmentIsRootsAndReadOnly TestAWheelByItsAddress TestHashesOfTheAuthorAreKept TestAPackageFromARepository
	TestFailuresAreExplained TestAPackageIsCompiledOnce TestMissingModules TestTwoVersionsOfOnePackage TestEnvironmentServesFromItsMount TestRefusalsOfTheIndexAreExplained # likewise
	TestConformanceThroughAPooler # TestConformance with more on the way
	TestAFloodIsPacedAndTold TestAFloodStaysInBounds # much work for one goroutine
	TestMemoryOverABareUvicorn   # weighs other processes
	TestSchemathesis             # waits for Python; admin's own tests call every route
	TestClients                  # likewise; TestHostile beside it has the network under load
	TestTrialReachesOutside TestCounted # drive a binary
	# One request after the other, or one goroutine that reads much; each of these took half a minute.
	TestBadRequestsAreRefusedBeforeAnythingHappens TestTheClientFollowsPages TestListsAreWholeAndStable TestEveryRouteNegotiates
	TestLargeArchivesArrive TestAZipBomb TestImportsAgreeWithPython TestExplainImport TestReuseNeedsNoUV TestEnsureForReal
)
# Scripts that wait for builds, jails and trials, or ask one thing after the other, as admin's own tests do: the others have a whole
# server, with the detector, do all that it does at the same time.
waiting='^TestScripts$/^(python|imports|env|environments|exec|files|watch|selftest|sandbox|limits|install|accounts|apis|doctor|example|keyrules|keys|metrics|nodes|open|tokens|usage)$|^TestServerScripts$/^(settings|secrets|egress)$'
pattern=$(IFS='|'; echo "${left_out[*]}")
mapfile -t packages < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | grep -Ev "^apibuilder/($pattern)" | grep .)
exec scripts/test.sh -race -vet=off -skip "^($(IFS='|'; echo "${repeated[*]}"))\$|$waiting" "$@" "${packages[@]}"
