/* Which of Open MPI's ways from rank to rank are left to it: not those that fail where this process
 * runs. What the user chose stays. */
#ifndef DN_TRANSPORTS_H
#define DN_TRANSPORTS_H

/* Sets variables of the environment; before MPI starts. Not collective. */
void dn_choose_transports(void);

#endif
