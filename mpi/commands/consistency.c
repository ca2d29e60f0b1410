/* Each rank compares its program, options and kernels with rank 0's; see consistency.h. */
#include "commands/consistency.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dn/program.h"

/* *text = what must be the same on all ranks, line by line. The caller frees it. */
static dn_status describe(char **text, const dn_command *command, const dn_options *options)
{
    size_t size;
    FILE *const file = open_memstream(text, &size);
    DN_CHECK(file, DN_ENOMEM, "out of memory: cannot compare the options");
    fprintf(file, "dn_dist %s, sources %s, command %s\n", dn_version(), dn_sources, command->name);
    dn_options_print_comparable(file, options);
    const int failed = ferror(file);
    DN_CHECK(fclose(file) == 0 && !failed, DN_ENOMEM, "out of memory: cannot compare the options");
    return DN_OK;
}

/* Names the first line that differs. */
static dn_status compare(const char *ours, const char *theirs, const char *host)
{
    enum { SHOWN = 200 }; /* bytes of a line in a message */
    while (*ours || *theirs) {
        const int own = (int)strcspn(ours, "\n"), other = (int)strcspn(theirs, "\n");
        DN_CHECK(own == other && memcmp(ours, theirs, (size_t)own) == 0, DN_EINVAL,
                 "found '%.*s', expected '%.*s' as on rank 0, host %s: all ranks take the same "
                 "options",
                 own < SHOWN ? own : SHOWN, ours, other < SHOWN ? other : SHOWN, theirs, host);
        ours += own + (ours[own] == '\n');
        theirs += other + (theirs[other] == '\n');
    }
    return DN_OK;
}

dn_status dn_same_options(const dn_comm *comm, const dn_command *command, const dn_options *options)
{
    char *ours = NULL;
    dn_status status = dn_comm_agree(comm, describe(&ours, command, options));
    const size_t most = status == DN_OK ? (size_t)dn_comm_max(comm, (int)strlen(ours)) : 0;
    char *const theirs = calloc(most + 1, 1);
    if (status == DN_OK)
        status = dn_comm_agree(
            comm, theirs ? DN_OK : dn_fail(DN_ENOMEM, "out of memory: cannot compare the options"));
    if (status == DN_OK) {
        if (comm->rank == 0)
            strcpy(theirs, ours);
        dn_comm_broadcast(comm, theirs, most);
        status = dn_comm_agree(comm, compare(ours, theirs, comm->host[0]));
    }
    free(theirs);
    free(ours);
    return status;
}

/* Kernels of one class compute the same bits (dn/checkpoint.h): all vector kernels are one class,
 * each kind of products that round to bf16 is a class of its own. */
static const char *class_of(const dn_kernels *kernels, const dn_product_kernels *products)
{
    return products->operands || kernels == dn_kernels_get(0) ? products->name : "vectors";
}

dn_status dn_same_kernels(const dn_comm *comm, const dn_net *net, int dtype)
{
    const dn_kernels *const kernels = dn_net_view(net).kernels;
    const dn_product_kernels *const products = &kernels->products[dtype];
    const char *const class = class_of(kernels, products);
    struct {
        char class[32], name[32];
    } first = {0};
    int tables = 0;
    while (dn_kernels_get(tables))
        tables++;
    const int common = -dn_comm_max(comm, -tables); /* a host with a table has those before it */
    snprintf(first.class, sizeof first.class, "%s", class);
    snprintf(first.name, sizeof first.name, "%s", products->name);
    dn_comm_broadcast(comm, &first, sizeof first);
    dn_status status = DN_OK;
    if (strcmp(first.class, class) != 0)
        status =
            dn_fail(DN_EINVAL,
                    "found kernels %s, expected those of rank 0 on host %s, %s, or others that "
                    "come to the same bits: start all ranks with --isa %s, which each host has",
                    products->name, comm->host[0], first.name, dn_kernels_get(common - 1)->name);
    return dn_comm_agree(comm, status);
}

/* An --isa of this host whose kernels are of the class, or NULL. */
static const char *isa_of(const char *class, int dtype)
{
    const dn_kernels *kernels;
    const char *isa = NULL;
    for (int i = 0; (kernels = dn_kernels_get(i)) != NULL; i++)
        if (strcmp(class_of(kernels, &kernels->products[dtype]), class) == 0)
            isa = kernels->products[dtype].name;
    return isa;
}

const char *dn_kernel_class(const dn_net *net, int dtype)
{
    const dn_kernels *const kernels = dn_net_view(net).kernels;
    return class_of(kernels, &kernels->products[dtype]);
}

void dn_warn_of_kernels(const dn_checkpoint *state, const dn_net *net, int dtype)
{
    const char *const class = dn_kernel_class(net, dtype);
    const char *const isa = isa_of(state->kernels, dtype);
    if (state->kernels[0] != '\0' && strcmp(state->kernels, class) != 0)
        dn_warn(
            "%s was trained with kernels %s, the run continues with %s: its weights will not be "
            "those of a run left alone; %s%s%s",
            state->path, state->kernels, class, isa ? "--isa " : "this host has no such kernels",
            isa ? isa : "", isa ? " keeps them" : "");
}
