/* A libnvidia-ml.so.1 for tests, behind the real binding on a machine without a driver.
 *
 * It calls itself FAKE, and what it gives as evidence is the file that the test names, or text that
 * no verifier accepts. Environment (integers): FAKE_NVML_INIT_RC (9: driver not loaded),
 * FAKE_NVML_GPUS, FAKE_NVML_CC, FAKE_NVML_ENV (2 production, 1 simulation), FAKE_NVML_DEVTOOLS,
 * FAKE_NVML_MULTI (1 protected PCIe), FAKE_NVML_READY, FAKE_NVML_EVIDENCE_RC, FAKE_NVML_ARCH,
 * FAKE_NVML_ECC (errors not mended),
 * FAKE_NVML_XIDS (so many events), FAKE_NVML_SIZE (length of the report that is told). Files:
 * FAKE_NVML_REPORT, FAKE_NVML_CERTIFICATE.
 *
 * Built with -DOLD_DRIVER it lacks what drivers before confidential computing lack.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned int u32;
typedef unsigned long long u64;

static int number(const char *key, int otherwise) {
    const char *text = getenv(key);
    return text && *text ? atoi(text) : otherwise;
}

static u32 load(const char *key, unsigned char *into, u32 most, const char *otherwise) {
    const char *path = getenv(key);
    FILE *file = path ? fopen(path, "rb") : NULL;
    u32 length;
    if (!file) {
        length = (u32)strlen(otherwise);
        memcpy(into, otherwise, length);
        return length;
    }
    length = (u32)fread(into, 1, most, file);
    fclose(file);
    return length;
}

u32 nvmlInitWithFlags(u32 flags) { (void)flags; return number("FAKE_NVML_INIT_RC", 0); }
u32 nvmlShutdown(void) { return 0; }
const char *nvmlErrorString(u32 rc) { (void)rc; return "fake"; }

u32 nvmlDeviceGetCount_v2(u32 *n) { *n = number("FAKE_NVML_GPUS", 1); return 0; }
u32 nvmlDeviceGetHandleByIndex_v2(u32 i, void **h) {
    if ((int)i >= number("FAKE_NVML_GPUS", 1)) return 2;
    *h = (void *)(u64)(i + 1);
    return 0;
}
u32 nvmlDeviceGetName(void *h, char *b, u32 n) { (void)h; strncpy(b, "NVIDIA H100 (FAKE)", n); return 0; }
u32 nvmlDeviceGetUUID(void *h, char *b, u32 n) { snprintf(b, n, "GPU-FAKE-%llu", (u64)h - 1); return 0; }

typedef struct { u64 total, free, used; } memory_t;
u32 nvmlDeviceGetMemoryInfo(void *h, memory_t *m) {
    (void)h;
    m->total = 80ull << 30; m->used = 20ull << 30; m->free = 60ull << 30;
    return 0;
}
typedef struct { u32 gpu, memory; } util_t;
u32 nvmlDeviceGetUtilizationRates(void *h, util_t *x) { (void)h; x->gpu = 37; x->memory = 12; return 0; }
u32 nvmlDeviceGetTemperature(void *h, u32 sensor, u32 *t) { (void)h; (void)sensor; *t = 55; return 0; }

#ifndef OLD_DRIVER
u32 nvmlSystemGetDriverVersion(char *b, u32 n) { strncpy(b, "590.12", n); return 0; }
u32 nvmlDeviceGetPowerUsage(void *h, u32 *p) { (void)h; *p = 312000; return 0; }
u32 nvmlDeviceGetTotalEccErrors(void *h, u32 kind, u32 counter, u64 *n) {
    (void)h;
    *n = counter == 0 ? (kind == 0 ? 3 : number("FAKE_NVML_ECC", 0)) : 77; /* 77: over its life */
    return 0;
}
u32 nvmlDeviceGetArchitecture(void *h, u32 *a) { (void)h; *a = number("FAKE_NVML_ARCH", 9); return 0; }

/* events: a queue that FAKE_NVML_XIDS fills, of GPU 0 */
static int events_left = -1;
typedef struct { void *device; u64 type, data; u32 gi, ci; } event_t;
u32 nvmlEventSetCreate(void **set) { *set = (void *)1; events_left = number("FAKE_NVML_XIDS", 0); return 0; }
u32 nvmlDeviceRegisterEvents(void *h, u64 types, void *set) { (void)h; (void)set; return types == 8 ? 0 : 2; }
u32 nvmlEventSetWait_v2(void *set, event_t *e, u32 ms) {
    (void)set; (void)ms;
    if (events_left <= 0) return 10; /* time-out */
    e->device = (void *)1; e->type = 8; e->data = 78 + events_left;
    events_left--;
    return 0;
}
u32 nvmlEventSetFree(void *set) { (void)set; return 0; }

typedef struct { u32 environment, feature, devtools; } state_t;
u32 nvmlSystemGetConfComputeState(state_t *s) {
    s->environment = number("FAKE_NVML_ENV", 2);
    s->feature = number("FAKE_NVML_CC", 1);
    s->devtools = number("FAKE_NVML_DEVTOOLS", 0);
    return 0;
}
#ifndef NO_SETTINGS
typedef struct { u32 version, environment, feature, devtools, multi; } settings_t;
u32 nvmlSystemGetConfComputeSettings(settings_t *s) {
    if (s->version != 0x1000014) return 25; /* argument version mismatch */
    s->environment = number("FAKE_NVML_ENV", 2);
    s->feature = number("FAKE_NVML_CC", 1);
    s->devtools = number("FAKE_NVML_DEVTOOLS", 0);
    s->multi = number("FAKE_NVML_MULTI", 0);
    return 0;
}
#endif
u32 nvmlSystemGetConfComputeGpusReadyState(u32 *r) { *r = number("FAKE_NVML_READY", 1); return 0; }

typedef struct { u32 has_cec, size, cec_size; unsigned char nonce[32], report[0x2000], cec[0x1000]; } report_t;
u32 nvmlDeviceGetConfComputeGpuAttestationReport(void *h, report_t *r) {
    (void)h;
    if (number("FAKE_NVML_EVIDENCE_RC", 0)) return number("FAKE_NVML_EVIDENCE_RC", 0);
    r->size = load("FAKE_NVML_REPORT", r->report, sizeof r->report, "FAKE, NOT SIGNED");
    if (!getenv("FAKE_NVML_REPORT")) { /* shows that the nonce arrived */
        memcpy(r->report + r->size, r->nonce, 32);
        r->size += 32;
    }
    r->size = number("FAKE_NVML_SIZE", r->size);
    return 0;
}
typedef struct { u32 size, attestation_size; unsigned char chain[0x1000], attestation[0x1400]; } certificate_t;
u32 nvmlDeviceGetConfComputeGpuCertificate(void *h, certificate_t *c) {
    (void)h;
    c->size = 0;
    c->attestation_size =
        load("FAKE_NVML_CERTIFICATE", c->attestation, sizeof c->attestation, "FAKE CERTIFICATE");
    return 0;
}
#endif
