// SPDX-License-Identifier: Apache-2.0
#include <iomanip>
#include <ostream>

#include "base/cpu.h"
#include "base/text.h"
#include "comm/communicator.h"
#include "comm/nccl_library.h"
#include "launcher/commands.h"
#include "launcher/version.h"
#include "tensor/backend.h"
#include "tensor/gpus.h"

namespace dlt::launcher {
namespace {

std::string cpu_text() {
  const CpuFeatures cpu = cpu_features();
  std::vector<std::string> features;
  for (const auto& [has, word] :
       {std::pair{cpu.avx2, "avx2"}, std::pair{cpu.fma, "fma"}, std::pair{cpu.f16c, "f16c"},
        std::pair{cpu.avx512, "avx512"}, std::pair{cpu.avx512_bf16, "avx512_bf16"},
        std::pair{cpu.amx_bf16, "amx_bf16"}}) {
    if (has) features.emplace_back(word);
  }
  return cat(cpu.model, "; ", join(features, " "));
}

class Info final : public Command {
 public:
  std::string name() const override { return "info"; }
  std::string summary() const override { return "Versions, back ends, devices, CPU, MPI library"; }
  void declare(Options&) override {}

  Exit run(Context& context) override {
    const auto row = [&](const char* name, const std::string& text) {
      context.out << std::left << std::setw(11) << name << text << "\n";
    };
    const auto backend = tensor::make_cpu_backend();
    const tensor::Gpus gpus;
    const RankEnv& ranks = context.ranks;
    row("program", program_version());
    row("built", cat(build_description(), ", build id ", program_hash()));
    row("libraries", library_versions());
    row("host", ranks.host);
    row("cpu", cpu_text());
    row("cores", cat(allowed_cores().size(), " of ", online_cores(), " for this process"));
    row("devices",
        gpus.list().empty() ? std::string(backend->name()) : cat(backend->name(), ", cuda"));
    if (gpus.list().empty()) row("gpus", cat("none: ", gpus.why_not()));
    for (const tensor::GpuInfo& gpu : gpus.list()) row("gpu", describe(gpu));
    row("backend", cat(backend->name(), ": ", backend->description(), ", ",
                       backend->kernels().size(), " kernels"));
    row("comm", "self, mpi");
    row("mpi", cat(comm::mpi_library_version(),
                   comm::mpi_takes_device_memory() ? ", CUDA-aware" : ", not CUDA-aware"));
    const comm::NcclFound nccl = comm::find_nccl();
    row("nccl", nccl.library != nullptr ? comm::nccl_version_text(nccl.library->version())
                                        : cat("none: ", nccl.why_not));
    row("rank",
        cat(ranks.rank, " of ", ranks.world_size, ", started by ", launcher::name(ranks.starter)));
    return Exit::ok;
  }
};

}  // namespace

std::unique_ptr<Command> make_info() { return std::make_unique<Info>(); }

}  // namespace dlt::launcher
