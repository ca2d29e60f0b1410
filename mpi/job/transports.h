/* Which of Open MPI's ways from rank to rank are left to this process: not those that fail where it
 * was launched (launcher.h). What the user chose stays. */
#ifndef DN_TRANSPORTS_H
#define DN_TRANSPORTS_H

/* Sets variables of the environment; before MPI starts. Not collective. */
void dn_choose_transports(void);

#endif
