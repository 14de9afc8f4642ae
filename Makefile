# hubwatch. The two commands that matter: make run, make test. make help lists
# the others.

# Everything is pinned: Go modules in go.mod, tools here, Azurite in
# handlers/local/azurite/package-lock.json, and what drives the browser in
# handlers/browser/package-lock.json.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
DEADCODE    := golang.org/x/tools/cmd/deadcode@v0.52.0
ACTIONLINT  := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
GOSEC       := github.com/securego/gosec/v2/cmd/gosec@v2.30.0

# Go's database of vulnerabilities, as it was on the day in its version. The
# database is a module, so it can be had wherever Go modules can. Its folder
# data/osv is in the format that govulncheck reads.
VULNS := golang.org/x/vulndb@v0.0.0-20261105234957-e22db6528018

# What a caller says is text and nothing else. make would expand it, and run what
# is in $(shell ...), where it is used, and also where make puts it into the
# environment of a recipe. A recipe reads it there, as "$$APP", which the shell
# does not expand once more.
override APP  := $(value APP)
override NAME := $(value NAME)
export APP NAME

# PART says which function app is built, packed and published: the one of the
# detectors, or, with PART=console, the one of the console.
PART :=
ifeq ($(PART),console)
SITE    := handlers/consoleapp
PROGRAM := ./handlers/consoleapp
BUILD   := build/console
ZIP     := build/hubwatch-console.zip
else ifneq ($(PART),)
$(error PART is console, or is left out)
else
SITE    := .
PROGRAM := ./handlers
BUILD   := build/app
ZIP     := build/hubwatch.zip
endif
# CEL, in which custom alerts have their conditions, is as large as the rest of the
# handler. A handler without custom alerts leaves it out, and so does the console,
# which judges nothing.
TAGS :=
ifeq ($(PART)$(shell grep -c '"name"' handlers/custom/alerts.json),0)
TAGS := -tags nocel
else ifeq ($(PART),console)
TAGS := -tags nocel
endif
HANDLER  = $(BUILD)/handler
SBOM     = $(basename $(ZIP)).cdx.json
AZURITE := build/azurite/node_modules/.package-lock.json
BROWSER := build/browser/node_modules/.package-lock.json

# The same sources and the same Go make the same bytes: in any folder, from a
# clone or from an archive, whatever variables are set. So the binary does not
# contain the state of the repository. The SHA-256 of a binary says which one it
# is: the bill of materials has it, and whoever builds the same commit gets it
# again.
FLAGS    := -trimpath -buildvcs=false -ldflags "-s -w"
SETTINGS := CGO_ENABLED=0 GOFLAGS=-buildvcs=false GOAMD64=v1 GOEXPERIMENT= GOFIPS140=off

# Whatever make compiles, it compiles with the same flags, so that Go's cache has the standard
# library and the modules once, for the programs, the tests and the tools. make lint vets,
# so go test does not: to vet all dependencies once more takes a minute of a processor. The
# race detector alone needs cgo.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -buildvcs=false -vet=off $(filter-out -trimpath -buildvcs=% -vet=%,$(GOFLAGS))

.DEFAULT_GOAL := run

## Try it
.PHONY: run demo start hubwatch

## run: show events becoming alerts, then keep listening; Ctrl-C ends it
run: app hubwatch $(AZURITE)
	@go build -o build/local ./handlers/local
	@build/local

## demo: deliver each sample event three times; ends with 0 if all is right
#
# It does so with a copy of the sources in build/demo, which has the custom alert of the
# README as well, and one that counts.
DEMO := build/demo
demo: $(AZURITE)
	@go run ./handlers/tools/example
	@mkdir -p $(DEMO)/build && ln -s ../../azurite $(DEMO)/build/azurite
	@cd $(DEMO) && make --no-print-directory --silent app
	@cd $(DEMO) && go build -trimpath -buildvcs=false -o build/local ./handlers/local && build/local demo

## hubwatch: build/hubwatch, the operator's command; see its --local
hubwatch:
	@$(SETTINGS) go build $(FLAGS) -o build/hubwatch ./handlers/hubwatch

## start: the real Functions host on build/app, with Azurite (needs func)
start: app $(AZURITE)
	@command -v func >/dev/null || { echo "make start needs func, the Azure Functions Core Tools: https://learn.microsoft.com/azure/azure-functions/functions-run-local"; exit 1; }
	cp local.settings.sample.json $(BUILD)/local.settings.json
	@mkdir -p build/storage
	@node build/azurite/node_modules/azurite/dist/src/azurite.js --silent --disableTelemetry --location build/storage & \
	azurite=$$!; trap 'kill -INT $$azurite' EXIT; \
	func start --script-root $(BUILD)

## Change it
.PHONY: detector generate lint test race az browser screenshots fuzz audit check

## detector: files for a new detector: make detector NAME=CertificateRenamed
detector:
	@go run ./handlers/tools/newdetector "$$NAME"

## generate: write everything that is derived from the list of detectors
generate:
	go run ./handlers/tools/generate

## lint: what takes seconds: format, vet, staticcheck, generated files
#
# actionlint reads the workflows. A test of handlers/infra reads the shell in them,
# so shellcheck is not needed.
lint:
	@unformatted=$$(gofmt -l handlers); test -z "$$unformatted" || { echo "gofmt would change:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...
	go run ./handlers/tools/generate -check
	go mod tidy -diff
	go run $(ACTIONLINT) -shellcheck= -pyflakes= .github/workflows/*.yml

## test: all tests, including end to end against Azurite
#
# What would take long, make trials and make chaos try in full, and make test in part.
# Some tests wait more than they compute, so four of a package run at once. The tests of
# the browser come last and alone, because they take both processors. The aim is ten minutes
# on two processors, without what Go's cache has of an earlier run.
test: app az browser $(AZURITE)
	HUBWATCH_AZURITE=required go test -timeout 20m -parallel 4 $$(go list ./... | grep -v '/handlers/browser$$')
	HUBWATCH_AZURITE=required go test -timeout 20m ./handlers/browser

## race: the tests again, with the race detector
#
# The detector needs each way through the code, and not thousands of trials, so there are a
# tenth of them. It sees nothing in the browser, or in the programs that infra, newdetector
# and reliability build. Of reliability there is what runs in the test itself.
race: app $(AZURITE)
	CGO_ENABLED=1 HUBWATCH_AZURITE=required go test -race -timeout 20m -parallel 4 $$(go list ./... | grep -v -e '/handlers/browser$$' -e '/handlers/infra$$' -e '/handlers/reliability$$' -e '/handlers/tools/newdetector$$')
	CGO_ENABLED=1 HUBWATCH_AZURITE=required go test -race -timeout 20m -run '^Test(ChaosReachesThe.*|RequestsOfARenewal|CrashAtEveryStep)$$/forwards' ./handlers/reliability

## az: the Azure CLI, which parses the commands that hubwatch shows
#
# That needs no login. As root where there is apt-get, it is installed if it is missing.
# Elsewhere the tests that need it are skipped, unless HUBWATCH_AZ is "required".
az:
	@command -v az >/dev/null || if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends azure-cli >/dev/null; \
	else \
		echo "some tests are skipped without az, the Azure CLI: https://learn.microsoft.com/cli/azure/install-azure-cli"; \
	fi

## browser: Chromium, and what drives it in the tests of the console
#
# As root where there is apt-get, Debian's chromium is installed if there is none.
# HUBWATCH_CHROMIUM names another one. Without one the tests that need it are skipped,
# unless HUBWATCH_BROWSER is "required".
browser: $(BROWSER)
	@test -n "$$HUBWATCH_CHROMIUM" || command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	if test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else \
		echo "some tests are skipped without Chromium: install it, or set HUBWATCH_CHROMIUM to its path"; \
	fi

## screenshots: the pictures of the README, from what the console is now
screenshots: browser $(AZURITE)
	HUBWATCH_AZURITE=required HUBWATCH_BROWSER=required HUBWATCH_SCREENSHOTS=docs/images go test -count 1 -run '^TestScreenshots$$' ./handlers/browser

## fuzz: each parser of what comes from outside, FUZZTIME inputs (30000x)
#
# FUZZTIME may be a time, for example 10m. But then Go now and then takes the end of the
# time for a failure, "context deadline exceeded" (golang/go#75804, mended in Go 1.27).
#
# A package with a fuzz test is found by its source.
FUZZTIME := 30000x
fuzz:
	@set -e; for folder in $$(grep -rl --include='*_test.go' '^func Fuzz' handlers | xargs -n 1 dirname | sort -u); do \
		names=$$(go test -list '^Fuzz' "./$$folder" | grep '^Fuzz'); \
		for name in $$names; do \
			go test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "./$$folder"; \
		done; \
	done

## audit: known vulnerabilities that the code can reach, and insecure code
#
# VULNDB=live and VULNDB=pinned choose the database of vulnerabilities. Without
# either, it is the live one if that can be reached. make check takes the pinned
# one, so that a commit that passed still passes next year. The workflow audit
# takes the live one, and so finds what became known since.
#
# gosec rules that do not apply, by folder:
# handlers/local starts the handler and Azurite, reads the files that it is told
#   to read, and does not check errors when it closes what it is done with.
# handlers/tools read and write the files that their arguments name, and what
#   they write is for everybody to read.
# handlers/tools/mutate runs tests that it has compiled from this repository.
VULNDB  :=
EXCLUDE := handlers/local/:G104,G204,G301,G304,G306,G704;handlers/tools/(generate|newdetector|example|zip|sbom|audit)/:G301,G304,G306,G703;handlers/tools/mutate/:G204,G304
audit:
	go run $(GOSEC) -quiet -nosec-require-rules -nosec-require-justification -exclude-rules '$(EXCLUDE)' ./...
	@mkdir -p build/new
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
	go run -exec 'env GOOS=linux GOARCH=amd64 CGO_ENABLED=0' $(GOVULNCHECK) $$flags -format json ./... > build/new/govulncheck.json; \
	go run ./handlers/tools/audit build/new/govulncheck.json go.mod

## check: all that must hold before a commit: lint, audit, test, race, fuzz
check: lint
	go run $(DEADCODE) -test ./...
	$(MAKE) --no-print-directory audit VULNDB=$(or $(VULNDB),pinned)
	$(MAKE) --no-print-directory test race fuzz

## Deploy it
.PHONY: app package parameters publish

## app: what is deployed, and what the Functions host runs: build/app
#
# If that is there already, as it has to be, it stays: go test knows by the times of files
# and folders which tests it need not run again.
NEW = $(dir $(BUILD))new/$(notdir $(BUILD))
app:
	@rm -rf $(NEW) && mkdir -p $(NEW)
	$(SETTINGS) go build $(TAGS) $(FLAGS) -o $(NEW)/handler $(PROGRAM)
	@cp $(SITE)/host.json $(NEW)/
	@for file in $(SITE)/functions/*/function.json; do \
		folder=$(NEW)/$$(basename $$(dirname $$file)); mkdir $$folder && cp $$file $$folder/ || exit 1; \
	done
	@if test -x $(HANDLER) && diff -rq $(NEW) $(BUILD) >/dev/null; then rm -r $(NEW); else rm -rf $(BUILD) && mv $(NEW) $(BUILD); fi

## package: the app for Azure (Linux, amd64), and the list of what is in it
#
# It leaves build/app as func publishes it, build/hubwatch.zip, and the bill of
# materials build/hubwatch.cdx.json. With PART=console these are build/console,
# build/hubwatch-console.zip and build/hubwatch-console.cdx.json.
#
# It says so if the Go that built the app is older than go.mod asks for. With
# OLD_GO=refuse that is an error.
OLD_GO := tell
package:
	@GOOS=linux GOARCH=amd64 $(MAKE) --no-print-directory app
	@go run ./handlers/tools/zip $(BUILD) $(ZIP)
	@go run ./handlers/tools/sbom -old-go $(OLD_GO) $(HANDLER) $(SBOM)

## parameters: write infra/my.bicepparam, the parameters of a deployment
#
# make parameters APP=name RG=group HUB=hub asks az for the region of the hub, the hubs
# of its group, and who is signed in. A file that is there belongs to whoever deploys,
# and stays as it is.
PARAMETERS := infra/my.bicepparam
parameters:
	@test ! -e $(PARAMETERS) || { echo "$(PARAMETERS) is there and stays as it is: change it with an editor"; exit 1; }
	@LC_ALL=C; case "$$APP" in "" | *[!A-Za-z0-9-]*) refused=yes ;; *) refused= ;; esac; \
	test -z "$$refused" -a -n "$$RG" -a -n "$$HUB" || { echo "make parameters needs three names: make parameters APP=hubwatch-contoso RG=rg-iot HUB=contoso-hub"; exit 1; }
	@command -v az >/dev/null || { echo "make parameters needs az, the Azure CLI: https://learn.microsoft.com/cli/azure/install-azure-cli"; exit 1; }
	@location=$$(az iot hub show --name "$$HUB" --query location --output tsv) || exit 1; \
	hubs=$$(az iot hub list --resource-group "$$RG" --query '[].id' --output tsv) || exit 1; \
	reader=$$(az ad signed-in-user show --query id --output tsv) || exit 1; \
	test -n "$$hubs" || { echo "there is no IoT hub in the resource group $$RG"; exit 1; }; \
	{ printf '%s\n' \
		"// The parameters of this deployment of hubwatch. The file is yours: no upgrade changes it. docs/operate.md lists" \
		"// what else there is. After a change, run the commands of the README again." \
		"using 'main.bicep'" "" \
		"param name = '$$APP'" "param location = '$$location'" "param iotHubs = ["; \
	printf '%s\n' "$$hubs" | sed "s/.*/  '&'/"; \
	printf '%s\n' "]" "// Object ids of who may read the alerts, and of who may close them as well." "param readers = ['$$reader']" "param responders = []"; \
	} | tr -d '\r' > $(PARAMETERS)
	@echo "$(PARAMETERS) is written."

## publish: package, then put it into a function app: make publish APP=name
#
# With PART=console it publishes the console.
#
# The names of function apps: 2 to 60 letters, digits and hyphens, and no hyphen
# at the ends (https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftweb).
#
# az uploads the zip that make package leaves. func does not do here: it asks the
# app how it is, and the app answers nobody but Event Grid. az does so from 2.88 on
# (Azure/azure-cli#33388); before, it asks for ever.
publish:
	@LC_ALL=C; case "$$APP" in \
	"") echo "make publish needs the name of the function app: make publish APP=hubwatch-contoso"; exit 1 ;; \
	-* | *- | *[!A-Za-z0-9-]* | ?) refused=yes ;; \
	*) refused=; test $${#APP} -le 60 || refused=yes ;; \
	esac; \
	test -z "$$refused" || { echo "APP is not the name of a function app: want 2 to 60 letters, digits and hyphens, and no hyphen at the ends"; exit 1; }
	@command -v az >/dev/null || { echo "make publish needs az, the Azure CLI: https://learn.microsoft.com/cli/azure/install-azure-cli"; exit 1; }
	@version=$$(az version --query '"azure-cli"' --output tsv) || exit 1; minor=$${version#2.}; \
	test "$$minor" = "$$version" || test "$${minor%%.*}" -ge 88 || { echo "make publish needs the Azure CLI 2.88 or later, and this is $$version: az upgrade"; exit 1; }
	@az account show >/dev/null 2>&1 || { echo "make publish needs a login: az login"; exit 1; }
	@$(MAKE) --no-print-directory package OLD_GO=refuse
	@group=$$(az resource list --name "$$APP" --resource-type Microsoft.Web/sites --query '[0].resourceGroup' --output tsv) || exit 1; \
	test -n "$$group" || { echo "there is no function app $$APP in the subscription of az account show: deploy infra/main.bicep first"; exit 1; }; \
	az functionapp deployment source config-zip --resource-group "$$group" --name "$$APP" --src $(ZIP)

## Measure it
.PHONY: trials chaos mutate bench growth

## trials: each order, each fault, and TRIALS random trials of each model
#
# make test makes a part of these: one in two or five of the orders and crashes, few trials, a
# fourth of the simulated devices, fewer large bodies at once, a third of the planted secrets,
# one signal at each stage of make run, and a fifth of the alerts that the browser shows.
# Whatever reads HUBWATCH_TRIALS tries everything if that is set.
TRIALS := 1000
trials: app browser $(AZURITE)
	HUBWATCH_TRIALS=$(TRIALS) go test -count 1 -timeout 90m -v -run '^Test(AnyOrderOfTheLog|TenInAnyOrder|CountsInAnyOrder|WindowsInAnyOrder|RaisingsInAnyOrder|TellingInAnyOrder|AnyInterleaving)$$' ./handlers/table ./handlers/verdict
	HUBWATCH_TRIALS=1 go test -count 1 -v -run '^Test(HealthyFleetIsSilent|Noise|EveryOrderOfTheLog|Any(Crash|CrashOfTheLog|CrashOfEleven|CrashOfACount))$$' ./handlers/table ./handlers/verdict
	HUBWATCH_AZURITE=required HUBWATCH_TRIALS=1 go test -count 1 -timeout 30m -parallel 4 -run '^Test(FailureAtEveryStep|CrashAtEveryStep|MemoryIsBounded|NoSecretIsKept)$$' ./handlers/reliability
	HUBWATCH_AZURITE=required HUBWATCH_TRIALS=1 go test -count 1 -p 1 -timeout 30m -v -run '^Test(Signals|FirstPicture|Weight|Pages|Operator)$$' ./handlers/local ./handlers/browser

## chaos: ten thousand events under faults, an outage, 5000 random trials
#
# Before that it does what make trials does, with more trials.
chaos: TRIALS := 5000
chaos: trials
	HUBWATCH_AZURITE=required HUBWATCH_CHAOS=long go test -count 1 -timeout 60m -v -run '^Test(Chaos|StorageIsDown)' ./handlers/reliability

## mutate: change each condition of a detector, and see if a case notices
mutate:
	go test -count 1 -v -run '^TestEvery(Condition|Rule)IsHeldByACase$$' ./handlers/detector
	go run ./handlers/tools/mutate

## bench: hubwatch beside other handlers of the same events, then each step
#
# The table goes into docs/performance.md. The console is measured by the time until
# Chromium shows the overview of ten thousand alerts, beside that of a plain page.
bench: browser $(AZURITE)
	@go build -o build/bench ./handlers/bench
	build/bench -write docs/performance.md
	go test -run '^$$' -bench . -benchmem ./...

## growth: how cost grows with alerts, sizes and devices: docs/growth
#
# The tables go into docs/performance.md.
growth:
	@go build -o build/bench ./handlers/bench
	build/bench -growth docs/growth -rounds 3 -write docs/performance.md

## Rest
.PHONY: help clean

## help: this list
help:
	@awk '/^## [a-z]+: / { sub(":", "", $$2); printf "  %-11s", $$2; for (i = 3; i <= NF; i++) printf " %s", $$i; print ""; next } \
		/^## / { sub("## ", ""); print "\n" $$0 }' Makefile

## clean: remove build, where all of the above is written
clean:
	rm -rf build

$(AZURITE): handlers/local/azurite/package.json handlers/local/azurite/package-lock.json
	@mkdir -p build/azurite && cp $^ build/azurite/
	npm ci --prefix build/azurite --no-audit --no-fund --loglevel=error
	@touch $@

$(BROWSER): handlers/browser/package.json handlers/browser/package-lock.json
	@mkdir -p build/browser && cp $^ build/browser/
	npm ci --prefix build/browser --no-audit --no-fund --loglevel=error
	@touch $@
