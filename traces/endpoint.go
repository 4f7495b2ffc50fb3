package traces

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const tracesPath = "/v1/traces" // OTLP 1.x, "OTLP/HTTP Request"

// Endpoint is where spans go by the setting of the server, and else by OpenTelemetry's environment variables, which getenv
// reads; empty: nowhere. Its errors name the input and the remedy.
func Endpoint(setting string, getenv func(string) string) (string, error) {
	if setting != "" {
		return endpoint(setting, true)
	}
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") || getenv("OTEL_TRACES_EXPORTER") == "none" {
		return "", nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"} {
		text := getenv(name)
		if text == "" {
			continue
		}
		at, err := endpoint(text, name == "OTEL_EXPORTER_OTLP_ENDPOINT")
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		return at, protocol(getenv)
	}
	return "", nil
}

func protocol(getenv func(string) string) error {
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch text := getenv(name); text {
		case "http/protobuf":
			return nil
		case "":
			continue
		default:
			return fmt.Errorf("%s: %q is not spoken here: set it to http/protobuf, and the endpoint to the collector's address "+
				"for that, usually port 4318", name, text)
		}
	}
	return nil
}

// endpoint checks the address of a collector. base says that the path of traces is to be added.
func endpoint(text string, base bool) (string, error) {
	const example = "write for example http://localhost:4318"
	u, err := url.Parse(text)
	if err != nil { // its text may hold a password
		return "", errors.New("this is no address of a collector: " + example)
	}
	switch {
	case u.User != nil:
		return "", errors.New("credentials do not belong into the address: put them into OTEL_EXPORTER_OTLP_HEADERS")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%q is no address of a collector: %s", text, example)
	}
	if path := strings.TrimRight(u.Path, "/"); base && !strings.HasSuffix(path, tracesPath) {
		u.Path = path + tracesPath
	}
	return u.String(), nil
}
