/* SPDX-License-Identifier: Apache-2.0 */
/* libcuda.so.1 and libnvidia-ml.so.1 of the emulated machine: the first only has to be there, the
   second gives the numbers of one quiet GPU. DLT_EMULATOR_NVML_FAILS makes it fail as without a
   driver. */
#include <stdlib.h>
#include <string.h>

enum { kSuccess = 0, kInvalidArgument = 2, kDriverNotLoaded = 9 };

struct Memory {
  unsigned long long total, free, used;
};
struct Utilization {
  unsigned int gpu, memory;
};

int nvmlInit_v2(void) { return getenv("DLT_EMULATOR_NVML_FAILS") != NULL ? kDriverNotLoaded : kSuccess; }
int nvmlShutdown(void) { return kSuccess; }
const char* nvmlErrorString(int status) {
  return status == kSuccess ? "Success" : status == kDriverNotLoaded ? "Driver Not Loaded" : "Invalid Argument";
}

int nvmlDeviceGetCount_v2(unsigned int* count) {
  *count = 8;
  return kSuccess;
}
/* Handles are the device's index and 1. */
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void** device) {
  *device = (void*)(unsigned long)(index + 1);
  return kSuccess;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* id, void** device) {
  const char* colon = strchr(id, ':');
  if (colon == NULL) return kInvalidArgument;
  *device = (void*)strtoul(colon + 1, NULL, 16);
  return kSuccess;
}
int nvmlDeviceGetHandleByUUID(const char* uuid, void** device) {
  if (strncmp(uuid, "GPU-", 4) != 0) return kInvalidArgument;
  *device = (void*)(strtoul(uuid + 4, NULL, 16) & 0xff);
  return kSuccess;
}
int nvmlDeviceGetPowerUsage(void* device, unsigned int* milliwatts) {
  if (device == NULL) return kInvalidArgument;
  *milliwatts = 100000;
  return kSuccess;
}
int nvmlDeviceGetTotalEnergyConsumption(void* device, unsigned long long* millijoules) {
  if (device == NULL) return kInvalidArgument;
  *millijoules = 5000000;
  return kSuccess;
}
int nvmlDeviceGetTemperature(void* device, int sensor, unsigned int* celsius) {
  if (device == NULL || sensor != 0) return kInvalidArgument;
  *celsius = 40;
  return kSuccess;
}
int nvmlDeviceGetMemoryInfo(void* device, struct Memory* memory) {
  if (device == NULL) return kInvalidArgument;
  *memory = (struct Memory){1ull << 30, 3ull << 28, 1ull << 28};
  return kSuccess;
}
int nvmlDeviceGetUtilizationRates(void* device, struct Utilization* rates) {
  if (device == NULL) return kInvalidArgument;
  *rates = (struct Utilization){50, 25};
  return kSuccess;
}
