// SPDX-License-Identifier: Apache-2.0
#include "optim/groups.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace dlt::optim {
namespace {

std::vector<ParamGroup::Pattern> read_patterns(config::MapReader& map, const std::string& key) {
  const char* wanted = "a pattern of parameter names or a list of them";
  const std::string hint =
      cat("as in ", key, ": \"*.bias\"; '*' is any text, '?' any one character");
  std::vector<ParamGroup::Pattern> patterns;
  const auto add = [&](const config::Node& node) {
    if (node.kind == config::Kind::scalar && !node.scalar.empty()) {
      patterns.push_back({.text = node.scalar, .mark = node.mark});
    } else {
      map.diagnostics().error(node.mark, cat(map.path(), ".", key), cat("expected ", wanted), hint);
    }
  };
  const config::Node* match = map.child(key);
  if (match == nullptr) {
    map.error(key, cat("expected ", wanted, ", got nothing"), hint);
  } else if (match->kind == config::Kind::sequence && !match->items.empty()) {
    for (const config::Node& item : match->items) add(item);
  } else {
    add(*match);
  }
  return patterns;
}

ParamGroup read_group(config::MapReader group, bool adapts) {
  ParamGroup out;
  out.key = group.path() + ".match";
  out.patterns = read_patterns(group, "match");
  GroupSettings& s = out.settings;
  s.freeze = group.boolean("freeze", false);
  s.learning_rate_factor = group.number("learning_rate_factor", {.min = 0}, 1.0);
  if (group.has("weight_decay")) {
    s.weight_decay = group.number("weight_decay", {.min = 0});
  } else {
    (void)group.child("weight_decay");  // legal; without it the optimiser's own holds
  }
  s.l1 = group.number("l1", {.min = 0}, 0.0);
  s.l2 = group.number("l2", {.min = 0}, 0.0);
  if (adapts) s.adapt = group.boolean("adapt", true);
  group.finish();
  return out;
}

const ParamGroup* group_of(const std::vector<ParamGroup>& groups, const std::string& param) {
  for (const ParamGroup& group : groups) {
    const bool hit =
        std::any_of(group.patterns.begin(), group.patterns.end(),
                    [&](const ParamGroup::Pattern& p) { return matches(p.text, param); });
    if (hit) return &group;
  }
  return nullptr;
}

}  // namespace

bool matches(std::string_view pattern, std::string_view name) {
  // On a mismatch behind a '*' that star takes one character more; only the last star matters.
  std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<ParamGroup> read_groups(config::MapReader& optimizer, bool adapts) {
  std::vector<ParamGroup> groups;
  const config::Node* list = optimizer.child("groups");
  if (list == nullptr) return groups;
  if (list->kind != config::Kind::sequence) {
    optimizer.error("groups", "expected a list of groups",
                    "as in groups: [{match: \"*.bias\", weight_decay: 0}]");
    return groups;
  }
  for (std::size_t i = 0; i < list->items.size(); ++i) {
    const config::Node& item = list->items[i];
    groups.push_back(read_group(config::MapReader(&item, cat(optimizer.path(), ".groups.", i),
                                                  item.mark, optimizer.diagnostics()),
                                adapts));
  }
  return groups;
}

std::optional<ParamGroup> read_freeze(config::MapReader& train) {
  if (!train.has("freeze")) {
    (void)train.child("freeze");  // legal, though absent
    return std::nullopt;
  }
  ParamGroup out;
  out.key = train.path() + ".freeze";
  out.patterns = read_patterns(train, "freeze");
  out.settings.freeze = true;
  return out;
}

bool is_frozen(const std::vector<ParamGroup>& groups, const std::string& param) {
  const ParamGroup* group = group_of(groups, param);
  return group != nullptr && group->settings.freeze;
}

void check_groups(const std::vector<ParamGroup>& groups, const std::vector<std::string>& params,
                  config::Diagnostics& diagnostics) {
  constexpr std::size_t kNamed = 12;
  const std::vector<std::string> some(
      params.begin(),
      params.begin() + static_cast<std::ptrdiff_t>(std::min(kNamed, params.size())));
  for (const ParamGroup& group : groups) {
    for (const ParamGroup::Pattern& pattern : group.patterns) {
      bool any = false, any_here = false;
      for (const std::string& param : params) {
        if (!matches(pattern.text, param)) continue;
        any = true;
        any_here = any_here || group_of(groups, param) == &group;
      }
      const std::string quoted = cat("'", printable(pattern.text), "'");
      if (!any) {
        const std::string near = nearest(pattern.text, params);
        const std::string names =
            cat("parameters: ", join(some), params.size() > kNamed ? ", ..." : "");
        diagnostics.error(pattern.mark, group.key,
                          cat("expected a pattern that matches a parameter, got ", quoted),
                          near.empty() ? names : cat("did you mean '", near, "'?  ", names));
      } else if (!any_here) {
        diagnostics.error(pattern.mark, group.key,
                          cat("expected a parameter of no earlier group, got ", quoted),
                          "the first group that matches counts: put the narrower pattern first");
      }
    }
  }
}

UpdatePlan plan_updates(const tensor::FlatLayout& layout, const std::vector<ParamGroup>& groups,
                        const std::vector<std::string>& excluded, Merge merge) {
  UpdatePlan plan;
  for (std::size_t i = 0; i < layout.entries.size(); ++i) {
    const auto& entry = layout.entries[i];
    if (std::find(excluded.begin(), excluded.end(), entry.name) != excluded.end()) continue;
    const ParamGroup* group = group_of(groups, entry.name);
    const GroupSettings settings = group == nullptr ? GroupSettings{} : group->settings;
    if (settings.freeze) continue;
    const std::int64_t end =
        i + 1 < layout.entries.size() ? layout.entries[i + 1].offset : layout.total;
    const bool joins = merge == Merge::neighbours && !plan.ranges.empty() &&
                       plan.ranges.back().end == entry.offset &&
                       plan.ranges.back().settings == settings;
    if (joins) {
      plan.ranges.back().end = end;
    } else {
      plan.ranges.push_back({.begin = entry.offset, .end = end, .settings = settings});
    }
    plan.parts.push_back({.begin = entry.offset,
                          .end = entry.offset + entry.numel,
                          .range = plan.ranges.size() - 1});
  }
  return plan;
}

}  // namespace dlt::optim
