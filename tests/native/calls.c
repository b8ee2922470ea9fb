/* calls.c -- see calls.h. */
#include "calls.h"

#include <stddef.h>

const demand no_demand = {.axis = -1, .dtype = -1, .judges = true, .planted_array = -1};

const char *unit_now = "none";

verdict attention_run(choices *c, const demand *d, char text[512]);
verdict projection_run(choices *c, const demand *d, char text[512]);
verdict statistics_run(choices *c, const demand *d, char text[512]);

static const char *const attention_arrays[] = {
    "query", "key", "value",   "mask", "bias", "query_offset", "key_lengths", "slopes",
    "sinks", "out", "weights", "lse",  NULL};

static const char *const projection_arrays[] = {"x", "weight", "bias", "y", NULL};

static const char *const statistics_arrays[] = {
    "query",        "key",           "value",    "mask",     "bias",     "query_offset",
    "key_lengths",  "slopes",        "sinks",    "out",      "lse",      "columns",
    "first_same",   "next_same",     "entropy",  "max",      "distance", "argmax",
    "top_weights",  "top_indices",   "top_rest", "received", "weighted", "set_weights",
    "overview_max", "overview_mean", NULL};

const call calls[] = {
    {"attention", 4, attention_arrays, attention_run},
    {"projection", 3, projection_arrays, projection_run},
    {"statistics", 7, statistics_arrays, statistics_run},
};
const int n_calls = sizeof calls / sizeof calls[0];
