// SPDX-License-Identifier: Apache-2.0
#include "ddp/replica.h"

#include <algorithm>
#include <cstddef>
#include <map>

#include "base/text.h"

namespace dlt::ddp {
namespace {

constexpr std::size_t kLongest_message = 64 << 10;
constexpr std::size_t kMost_ranks_named = 8;

/// Fields as one text: each as its length, a colon and its bytes.
std::string pack(const std::vector<std::string>& fields) {
  std::string text;
  for (const std::string& field : fields) text += cat(field.size(), ":", field);
  return text;
}

std::vector<std::string> unpack(const std::string& text) {
  std::vector<std::string> fields;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t colon = text.find(':', at);
    DLT_CHECK(colon != std::string::npos, "a packed field has a length");
    const std::size_t size = std::stoull(text.substr(at, colon - at));
    fields.push_back(text.substr(colon + 1, size));
    at = colon + 1 + size;
  }
  return fields;
}

/// What one rank says of itself.
struct Account {
  std::string host;
  std::vector<std::pair<std::string, std::string>> facts;
  [[nodiscard]] std::string value(const std::string& name) const {
    for (const auto& [key, fact] : facts) {
      if (key == name) return fact;
    }
    return "(missing)";
  }
};

std::vector<Account> gather_accounts(
    comm::Communicator& comm, const std::string& host,
    const std::vector<std::pair<std::string, std::string>>& facts) {
  std::vector<std::string> fields{host};
  for (const auto& [name, value] : facts) {
    fields.push_back(name);
    fields.push_back(value);
  }
  std::vector<Account> accounts;
  for (const std::string& text : comm::allgather_text(comm, pack(fields))) {
    const std::vector<std::string> parts = unpack(text);
    Account account{.host = parts.at(0), .facts = {}};
    for (std::size_t i = 1; i + 1 < parts.size(); i += 2) {
      account.facts.emplace_back(parts[i], parts[i + 1]);
    }
    accounts.push_back(std::move(account));
  }
  return accounts;
}

/// Every fact that any rank has, in the order of the first rank that has it.
std::vector<std::string> fact_names(const std::vector<Account>& accounts) {
  std::vector<std::string> names;
  for (const Account& account : accounts) {
    for (const auto& [name, value] : account.facts) {
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

std::string hint_for(const std::string& fact) {
  if (fact == "binary") return "install the same build of dltrain on every host";
  if (fact == "config") {
    return "give every rank the same config file, the same --set options and the same environment";
  }
  if (fact == "plan") {
    return "the ranks planned different messages: same build, same config, same --set options?";
  }
  if (fact == "data") return "the hosts see different data files: copy them again or share them";
  return "make it the same on every host";
}

/// "rank 2 (hostB)", "ranks 2, 3 (hostB, hostC)"
std::string describe(const std::vector<std::size_t>& ranks, const std::vector<Account>& accounts) {
  std::vector<std::string> numbers;
  std::vector<std::string> hosts;
  for (std::size_t i = 0; i < std::min(ranks.size(), kMost_ranks_named); ++i) {
    numbers.push_back(cat(ranks[i]));
    const std::string host = printable(accounts[ranks[i]].host);
    if (std::find(hosts.begin(), hosts.end(), host) == hosts.end()) hosts.push_back(host);
  }
  const std::string more = ranks.size() > kMost_ranks_named
                               ? cat(" and ", ranks.size() - kMost_ranks_named, " more")
                               : std::string();
  return cat(ranks.size() > 1 ? "ranks " : "rank ", join(numbers), more, " (", join(hosts), ")");
}

void require_one_value(const std::string& fact, const std::vector<Account>& accounts) {
  std::map<std::string, std::vector<std::size_t>> ranks_of;
  for (std::size_t r = 0; r < accounts.size(); ++r) {
    ranks_of[accounts[r].value(fact)].push_back(r);
  }
  if (ranks_of.size() == 1) return;
  // The larger group is right; of two equal ones, that with the lower rank.
  const auto less_right = [](const auto& a, const auto& b) {
    if (a.second.size() != b.second.size()) return a.second.size() < b.second.size();
    return a.second.front() > b.second.front();
  };
  const auto odd = std::min_element(ranks_of.begin(), ranks_of.end(), less_right);
  const auto expected = std::max_element(ranks_of.begin(), ranks_of.end(), less_right);
  throw Error(
      Exit::config,
      cat(describe(odd->second, accounts), odd->second.size() > 1 ? ": differ" : ": differs",
          " from the other ranks in ", printable(fact), ": ", printable(odd->first), ", expected ",
          printable(expected->first)),
      hint_for(fact));
}

/// "rank 1 (hostB): 17", one for each hash.
std::string describe_groups(const std::map<std::string, std::vector<std::size_t>>& ranks_of,
                            const std::vector<Account>& accounts) {
  std::vector<std::string> groups;
  for (const auto& [value, ranks] : ranks_of) {
    groups.push_back(cat(describe(ranks, accounts), ": ", value));
  }
  return join(groups);
}

}  // namespace

void require_equal_replicas(comm::Communicator& comm, const std::string& host, std::int64_t step,
                            std::uint64_t hash) {
  const std::string fact = "weights";
  const std::vector<Account> accounts = gather_accounts(comm, host, {{fact, cat(hash)}});
  std::map<std::string, std::vector<std::size_t>> ranks_of;
  for (std::size_t r = 0; r < accounts.size(); ++r) {
    ranks_of[accounts[r].value(fact)].push_back(r);
  }
  if (ranks_of.size() == 1) return;
  const auto smaller = [](const auto& a, const auto& b) {
    return a.second.size() < b.second.size();
  };
  const auto right = std::max_element(ranks_of.begin(), ranks_of.end(), smaller);
  const auto num_as_large = std::count_if(ranks_of.begin(), ranks_of.end(), [&](const auto& group) {
    return group.second.size() == right->second.size();
  });
  const std::string where = cat("weights after step ", step);
  if (num_as_large > 1) {
    throw Error(Exit::internal,
                cat("the ranks differ in the ", where, ": ", describe_groups(ranks_of, accounts)),
                "replicas must be equal: suspect the memory or processor of one of them");
  }
  const std::string expected = right->first;
  ranks_of.erase(right);
  std::vector<std::size_t> odd;
  for (const auto& [value, ranks] : ranks_of) odd.insert(odd.end(), ranks.begin(), ranks.end());
  std::sort(odd.begin(), odd.end());
  throw Error(Exit::internal,
              cat(describe(odd, accounts), odd.size() > 1 ? ": differ" : ": differs",
                  " from the other ranks in the ", where, ": ", describe_groups(ranks_of, accounts),
                  ", expected ", expected),
              "replicas must be equal: suspect that rank's memory or processor");
}

void require_agreement(comm::Communicator& comm, const std::string& host,
                       const std::vector<std::pair<std::string, std::string>>& facts) {
  const std::vector<Account> accounts = gather_accounts(comm, host, facts);
  for (const std::string& fact : fact_names(accounts)) require_one_value(fact, accounts);
}

void agree_on_failure(comm::Communicator& comm, const std::string& host,
                      const std::optional<Error>& failure) {
  std::string mine;
  if (failure) {
    mine = pack({cat(static_cast<int>(failure->exit())), printable(host),
                 std::string(failure->what()).substr(0, kLongest_message),
                 failure->hint().substr(0, kLongest_message)});
  }
  const std::vector<std::string> all = comm::allgather_text(comm, mine);
  const auto first =
      std::find_if(all.begin(), all.end(), [](const std::string& text) { return !text.empty(); });
  if (first == all.end()) return;
  const std::vector<std::string> failed = unpack(*first);
  const bool alike = std::all_of(all.begin(), all.end(), [&](const std::string& text) {
    if (text.empty()) return false;
    std::vector<std::string> other = unpack(text);
    other.at(1) = failed.at(1);  // the host makes no difference
    return other == failed;
  });
  const std::string where =
      alike ? std::string() : cat("rank ", first - all.begin(), " (", failed.at(1), "): ");
  Error agreed(static_cast<Exit>(std::stoi(failed.at(0))), where + failed.at(2), failed.at(3));
  if (!alike) agreed.set_rank(static_cast<int>(first - all.begin()));
  throw agreed;
}

void together(comm::Communicator& comm, const std::string& host, const std::function<void()>& f) {
  std::optional<Error> failure;
  try {
    f();
  } catch (const Error& error) {
    failure = error;
  } catch (const std::exception& error) {
    failure = Error(Exit::internal, error.what());
  }
  agree_on_failure(comm, host, failure);
}

}  // namespace dlt::ddp
