// SPDX-License-Identifier: Apache-2.0
#include "comm/backend/open_mpi_settings.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dlt::comm {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;
using Texts = std::map<std::string, std::string>;

EnvSettings settings(const Texts& environment, const Texts& files = {}) {
  return open_mpi_settings(
      [&](const char* name) -> const char* {
        const auto found = environment.find(name);
        return found == environment.end() ? nullptr : found->second.c_str();
      },
      [&](const std::string& path) {
        const auto found = files.find(path);
        return found == files.end() ? std::string() : found->second;
      });
}

TEST(OpenMpiSettings, SendMoreAtOnceUnlessTheUserSays) {
  EXPECT_THAT(settings({{"HOME", "/home/ann"}, {"OMPI_MCA_btl", "tcp,self"}}),
              ElementsAre(Pair("OMPI_MCA_btl_tcp_eager_limit", "4194304"),
                          Pair("OMPI_MCA_btl_tcp_max_send_size", "4194304")));
}

TEST(OpenMpiSettings, LeaveTheUsersEnvironmentAlone) {
  EXPECT_THAT(settings({{"OMPI_MCA_btl_tcp_flags", "314"}}), IsEmpty());
  EXPECT_THAT(settings({{"OMPI_MCA_btl_tcp_flags", ""}}), IsEmpty());
  EXPECT_THAT(settings({{"OMPI_MCA_btl_tcp_eager_limit", "1000"}}), IsEmpty());
  EXPECT_THAT(settings({{"OMPI_MCA_mca_base_param_file_prefix", "mine"}}), IsEmpty());
}

TEST(OpenMpiSettings, LeaveParameterFilesAlone) {
  const std::string text = "# mine\n  btl_tcp_flags=314\n";
  EXPECT_THAT(settings({{"HOME", "/home/ann"}}, {{"/home/ann/.openmpi/mca-params.conf", text}}),
              IsEmpty());
  EXPECT_THAT(settings({}, {{"/etc/openmpi/openmpi-mca-params.conf", text}}), IsEmpty());
  EXPECT_THAT(
      settings({{"OPAL_PREFIX", "/opt/mpi"}}, {{"/opt/mpi/etc/openmpi-mca-params.conf", text}}),
      IsEmpty());
  EXPECT_THAT(settings({{"OMPI_MCA_mca_base_param_files", "/a.conf:/b.conf"}}, {{"/b.conf", text}}),
              IsEmpty());
}

TEST(OpenMpiSettings, KnowAParameterByItsWholeName) {
  EXPECT_TRUE(sets_parameter("a = 1\r\nbtl_tcp_flags\t= 3", "btl_tcp_flags"));
  EXPECT_FALSE(
      sets_parameter("# btl_tcp_flags = 3\nbtl_tcp_flags_x = 3\nbtl_tcp_flags\n", "btl_tcp_flags"));
  EXPECT_FALSE(sets_parameter("", "btl_tcp_flags"));
}

}  // namespace
}  // namespace dlt::comm
