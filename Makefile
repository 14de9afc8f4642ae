# hubwatch. The two commands that matter: make run, make test.

# Everything is pinned: Go modules in go.mod, tools here, Azurite in
# handlers/local/azurite/package-lock.json.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
DEADCODE    := golang.org/x/tools/cmd/deadcode@v0.52.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
GOSEC       := github.com/securego/gosec/v2/cmd/gosec@v2.30.0

# Go's database of vulnerabilities as of the day in its version. It is a module
# like any other, so it is there wherever the modules of this code are. Its
# folder data/osv is a database that govulncheck reads as it is.
VULNS := golang.org/x/vulndb@v0.0.0-20261105234957-e22db6528018

# Not called APP: that is what make publish is told.
BUILD   := build/app
ZIP     := build/hubwatch.zip
SBOM     = $(basename $(ZIP)).cdx.json
AZURITE := build/azurite/node_modules/.package-lock.json

# The same sources and the same Go make the same bytes: in any folder, from a
# clone or from an archive, whatever the one who builds has set. So nothing of
# the repository's state is written into the binary. Which version runs is told
# by its SHA-256, which is in the bill of materials and which whoever builds
# the same commit gets again.
FLAGS   := -trimpath -buildvcs=false -ldflags "-s -w"
SETTINGS := CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOAMD64=v1 GOEXPERIMENT= GOFIPS140=off

.PHONY: run demo test check audit fuzz generate package bench start clean
.DEFAULT_GOAL := run

## run: show events becoming alerts in a table, then keep listening; Ctrl-C ends it
run: app $(AZURITE)
	@go build -o build/local ./handlers/local
	@build/local

## demo: deliver every sample event three times in random order; ends 0 if each alert is there once
demo: app $(AZURITE)
	@go build -o build/local ./handlers/local
	@build/local demo

## test: all tests, including end to end against Azurite
test: app $(AZURITE)
	HUBWATCH_AZURITE=required go test -race -timeout 20m ./...

## check: everything that must hold before a commit
check: $(AZURITE)
	@test -z "$$(gofmt -l handlers)" || { echo "gofmt would change:"; gofmt -l handlers; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	go run $(DEADCODE) -test ./...
	go mod tidy -diff
	go run ./handlers/tools/generate -check
	$(MAKE) --no-print-directory audit VULNDB=$(or $(VULNDB),pinned)
	$(MAKE) --no-print-directory test fuzz

## audit: known vulnerabilities and insecure code; VULNDB=live and VULNDB=pinned say by which database, else the live one if it can be reached
#
# make check takes the pinned one, so that a commit that was right stays right;
# what became known since is found by the workflow audit, with the live one.
#
# What gosec is not asked, since it asks about what cannot be otherwise there:
# handlers/local starts the handler and Azurite, reads what it is told to, and
# lets go of connections, files and processes of which the end is certain;
# handlers/tools are told by their caller what to read
# and write, and write what everybody may read; handlers/tools/mutate runs tests that
# it has compiled from this code, which it reads.
VULNDB :=
NOTASKED := handlers/local/:G104,G204,G301,G304,G306,G704;handlers/tools/(generate|zip|sbom|audit)/:G301,G304,G306,G703;handlers/tools/mutate/:G204,G304
audit:
	go run $(GOSEC) -quiet -nosec-require-rules -nosec-require-justification -exclude-rules '$(NOTASKED)' ./...
	@mkdir -p build
	@set -e; db="$(VULNDB)"; \
	if test -z "$$db"; then \
		if go run $(GOVULNCHECK) -version | grep -q '^DB updated'; then db=live; else db=pinned; fi; \
	fi; \
	case "$$db" in \
	live) flags= ;; \
	pinned) folder=$$(go mod download -json $(VULNS) | sed -n 's/^\t"Dir": "\(.*\)",*$$/\1/p'); \
		test -n "$$folder" || { echo "make audit cannot download $(VULNS)"; exit 1; }; \
		flags="-db file://$$folder/data/osv" ;; \
	*) echo "make audit knows VULNDB=live and VULNDB=pinned, not $$db"; exit 1 ;; \
	esac; \
	echo "govulncheck, $$db database"; \
	go run -exec 'env GOOS=linux GOARCH=amd64 CGO_ENABLED=0' $(GOVULNCHECK) $$flags -format json ./... > build/govulncheck.json; \
	go run ./handlers/tools/audit build/govulncheck.json go.mod

## fuzz: each parser of what comes from outside, for FUZZTIME
FUZZTIME := 30s
fuzz:
	@set -e; for p in ./handlers ./handlers/event ./handlers/connection ./handlers/relay ./handlers/host; do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x $$p; \
		done; \
	done

## generate: write everything that is derived from the list of detectors
generate:
	go run ./handlers/tools/generate

## app: what is deployed, and what the Functions host runs: build/app
.PHONY: app
app:
	@rm -rf $(BUILD) && mkdir -p $(BUILD)
	$(SETTINGS) go build $(FLAGS) -o $(BUILD)/hubwatch ./handlers
	@cp host.json $(BUILD)/ && cp -R functions/. $(BUILD)/

## package: the app for Azure (Linux, amd64): build/app, as func publishes it, build/hubwatch.zip, and what is in it: build/hubwatch.cdx.json
package:
	@GOOS=linux GOARCH=amd64 $(MAKE) --no-print-directory app
	@go run ./handlers/tools/zip $(BUILD) $(ZIP)
	@go run ./handlers/tools/sbom $(BUILD)/hubwatch $(SBOM)

## publish: package, and put it into the function app APP (needs func and az): make publish APP=hubwatch-contoso
.PHONY: publish
publish:
	@test -n "$(APP)" || { echo "make publish needs the name of the function app: make publish APP=hubwatch-contoso"; exit 1; }
	@command -v func >/dev/null || { echo "make publish needs func, the Azure Functions Core Tools: https://learn.microsoft.com/azure/azure-functions/functions-run-local"; exit 1; }
	@command -v az >/dev/null || { echo "make publish needs az, the Azure CLI: https://learn.microsoft.com/cli/azure/install-azure-cli"; exit 1; }
	@az account show >/dev/null 2>&1 || { echo "make publish needs a login: az login"; exit 1; }
	@$(MAKE) --no-print-directory package
	cd $(BUILD) && func azure functionapp publish "$(APP)" --custom --no-build

## start: the real Functions host on build/app (needs func: Azure Functions Core Tools 4)
start: app $(AZURITE)
	@command -v func >/dev/null || { echo "make start needs func, the Azure Functions Core Tools: https://learn.microsoft.com/azure/azure-functions/functions-run-local"; exit 1; }
	cp local.settings.sample.json $(BUILD)/local.settings.json
	@mkdir -p build/storage
	@node build/azurite/node_modules/azurite/dist/src/azurite.js --silent --disableTelemetry --location build/storage & \
	azurite=$$!; trap 'kill -INT $$azurite' EXIT; \
	func start --script-root $(BUILD)

## chaos: ten thousand events under crashes and faults, with one instance and with two, and what they did
.PHONY: chaos
chaos: app $(AZURITE)
	HUBWATCH_AZURITE=required HUBWATCH_CHAOS=long go test -count 1 -timeout 60m -v -run '^TestChaos' ./handlers/reliability

## mutate: change each condition of the detectors and of the classifier, and see whether a case notices
.PHONY: mutate
mutate:
	go test -count 1 -v -run '^TestEvery(Condition|Rule)IsHeldByACase$$' ./handlers/detector
	go run ./handlers/tools/mutate

## bench: benchmarks, each with something to compare it with
bench:
	go test -run '^$$' -bench . -benchmem ./...

clean:
	rm -rf build

$(AZURITE): handlers/local/azurite/package.json handlers/local/azurite/package-lock.json
	@mkdir -p build/azurite && cp $^ build/azurite/
	npm ci --prefix build/azurite --no-audit --no-fund --loglevel=error
	@touch $@
