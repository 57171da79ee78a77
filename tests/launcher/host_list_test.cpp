// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/host_list.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace dlt::supervise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(HostList, ReadsHostsWithTheirRanks) {
  const auto got = parse_hosts("a:4,node-2.example:16,c");
  EXPECT_EQ(hosts_text(got), "a:4,node-2.example:16,c:1");
  EXPECT_EQ(total_slots(got), 21);
}

TEST(HostList, RefusesWhatIsNoHost) {
  for (const char* bad : {"", "a:0", "a:-1", "a:x", "a:1x", ":4", "a:4,", "a b:1", "-oX:1", "a;b",
                          "a:4,b:4,a:1", "a:99999999999", "$(x):1"}) {
    EXPECT_THAT(test::error_of([&] { (void)parse_hosts(bad); }), HasSubstr("64: --hosts: expected"))
        << bad;
  }
}

TEST(HostList, ExpandsSlurmsNodes) {
  EXPECT_THAT(expand_node_list("n1"), ElementsAre("n1"));
  EXPECT_THAT(expand_node_list("n[1-3,07,9-10],gpu1"),
              ElementsAre("n1", "n2", "n3", "n07", "n9", "n10", "gpu1"));
  EXPECT_THAT(expand_node_list("n[098-101]"), ElementsAre("n098", "n099", "n100", "n101"));
  EXPECT_THAT(expand_node_list("r[1-2]n[1-2].x"),
              ElementsAre("r1n1.x", "r1n2.x", "r2n1.x", "r2n2.x"));
}

TEST(HostList, RefusesWhatIsNoNodeList) {
  for (const char* bad : {"", "n[1-", "n[3-1]", "n[a]", "n[1-99999999]", "n1,,n2", "n 1", "n[]"}) {
    EXPECT_THAT(test::error_of([&] { (void)expand_node_list(bad); }), HasSubstr("69: Slurm: "))
        << bad;
  }
  // Ranges of ranges: the number of names is limited, too.
  EXPECT_THAT(test::error_of([] { (void)expand_node_list("a[1-1000]b[1-1000]"); }),
              HasSubstr("69: Slurm: "));
}

TEST(HostList, ExpandsSlurmsCounts) {
  EXPECT_THAT(expand_counts("4(x3),2"), ElementsAre(4, 4, 4, 2));
  EXPECT_THAT(expand_counts("1"), ElementsAre(1));
  for (const char* bad : {"", "0", "4(x", "4(x0)", "4x3", "(x3)", "4(x3)x", "4(x9999999)"}) {
    EXPECT_THAT(test::error_of([&] { (void)expand_counts(bad); }), HasSubstr("69: Slurm: ")) << bad;
  }
}

}  // namespace
}  // namespace dlt::supervise
