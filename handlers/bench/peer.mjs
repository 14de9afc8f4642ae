// A handler in Node: node:http with JSON.parse.
import http from "node:http";

const titles = JSON.parse(process.argv[4]);
const is = (a, b) => typeof a === "string" && a.toLowerCase() === b.toLowerCase();
const ends = (a, b) => typeof a === "string" && a.toLowerCase().endsWith(b.toLowerCase());

const rules = {
  CertificateAdded: (t, d) => ends(t, "WriteSuccess") && is(d.operationName, "Microsoft.Devices/IotHubs/certificates/write"),
  CertificateAddFailed: (t, d) => ends(t, "WriteFailure") && is(d.operationName, "Microsoft.Devices/IotHubs/certificates/write"),
  CertificateDeleted: (t, d) => ends(t, "DeleteSuccess") && is(d.operationName, "Microsoft.Devices/IotHubs/certificates/delete"),
  CertificateDeleteFailed: (t, d) => ends(t, "DeleteFailure") && is(d.operationName, "Microsoft.Devices/IotHubs/certificates/delete"),
  DiagnosticSettingChanged: (t, d, s) => is(d.operationName, "Microsoft.Insights/diagnosticSettings/write") && s.toLowerCase().includes("/iothubs/"),
  DiagnosticSettingDeleted: (t, d, s) => is(d.operationName, "Microsoft.Insights/diagnosticSettings/delete") && s.toLowerCase().includes("/iothubs/"),
  DeviceTokenInvalid: refused("deviceConnect", "sas"),
  DeviceTokenExpired: refused("deviceDisconnect", "sas"),
  DeviceCertificateMismatch: refused("deviceConnect", "x509"),
  DeviceCertificateExpired: refused("deviceDisconnect", "x509"),
};

function refused(operation, type) {
  return (t, d) => {
    if (!is(d.category, "Connections") || d.resultType !== "401003" || !is(d.operationName, operation)) return false;
    return JSON.parse(JSON.parse(d.properties).authType).type === type;
  };
}

http.createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    const name = request.url.slice(1);
    const event = JSON.parse(Buffer.concat(chunks)).Data.event;
    const type = event.specversion ? event.type : event.eventType;
    const logs = rules[name](type, event.data, event.subject) ? [titles[name]] : [];
    const body = JSON.stringify({ Outputs: {}, Logs: logs, ReturnValue: null });
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
    response.end(body);
  });
}).listen(Number(process.argv[2]), "127.0.0.1");

// What it has used so far, beside the requests that are measured.
http.createServer((_, response) => {
  const used = process.resourceUsage();
  response.end(JSON.stringify({ micros: used.userCPUTime + used.systemCPUTime, kib: process.memoryUsage().rss / 1024 | 0 }));
}).listen(Number(process.argv[3]), "127.0.0.1");
