/* Who launched this process, and which of Open MPI's ways from rank to rank are left to it: not
 * those that fail where it runs. What the user chose stays. */
#ifndef DN_TRANSPORTS_H
#define DN_TRANSPORTS_H

/* This process's number where a launcher started it, before MPI tells; else "0". */
const char *dn_launched_rank(void);

/* Sets variables of the environment; before MPI starts. Not collective. */
void dn_choose_transports(void);

#endif
